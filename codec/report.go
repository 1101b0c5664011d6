package codec

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Report is the body of a message on wa.status.
type Report struct {
	Ref      string // "" where something else sent the message
	ID       string // "" where the platform gave none, as for verbs
	To       string
	Status   string
	At       time.Time
	Attempts int // left out where 0
	Error    *ReportError
	Raw      []byte // the platform's status object; left out where nil
}

// ReportError is the error of a Report.
type ReportError struct {
	Class  Class
	Code   int // left out where 0
	Title  string
	Detail string
}

// Append appends r as JSON, its rank included. Raw is spliced in as it is and
// must be JSON. Empty strings are left out.
func (r *Report) Append(dst []byte) []byte {
	dst = append(dst, '{')
	dst = appendMember(dst, "ref", r.Ref)
	dst = appendMember(dst, "id", r.ID)
	dst = appendMember(dst, "to", r.To)
	dst = appendMember(dst, "status", r.Status)
	dst = strconv.AppendInt(appendName(dst, "rank"), int64(Rank(r.Status)), 10)
	dst = append(appendName(dst, "at"), '"')
	dst = append(r.At.UTC().AppendFormat(dst, time.RFC3339Nano), '"')
	if r.Attempts != 0 {
		dst = strconv.AppendInt(appendName(dst, "attempts"), int64(r.Attempts), 10)
	}
	if e := r.Error; e != nil {
		dst = append(appendName(dst, "error"), '{')
		dst = appendMember(dst, "class", e.Class.String())
		if e.Code != 0 {
			dst = strconv.AppendInt(appendName(dst, "code"), int64(e.Code), 10)
		}
		dst = appendMember(dst, "title", e.Title)
		dst = append(appendMember(dst, "detail", e.Detail), '}')
	}
	return append(appendRaw(dst, "raw", r.Raw), '}')
}

// ParseReport reads a report back. Raw aliases body.
func ParseReport(body []byte) (Report, error) {
	var buf [32]node
	d, err := indexObject(body, 2, buf[:0])
	if err != nil {
		return Report{}, fmt.Errorf("reading report: %w", err)
	}
	var s [5]string
	d.pack(s[:], d.get(0, "ref"), d.get(0, "id"), d.get(0, "to"), d.get(0, "status"), d.get(0, "at"))
	r := Report{Ref: s[0], ID: s[1], To: s[2], Status: s[3], Raw: d.nodes[d.get(0, "raw")].orNil(body)}
	if r.Status == "" {
		return Report{}, errors.New("report without a status")
	}
	if r.At, err = time.Parse(time.RFC3339, s[4]); err != nil {
		return Report{}, errors.New("report without a time (RFC 3339)")
	}
	r.Attempts, _ = d.number(d.get(0, "attempts"))
	if e := d.get(0, "error"); e != 0 && d.kind(e) == kindObject {
		code, _ := d.number(d.get(e, "code"))
		r.Error = &ReportError{
			Class:  parseClass(d.str(d.get(e, "class"))),
			Code:   code,
			Title:  d.str(d.get(e, "title")),
			Detail: d.str(d.get(e, "detail")),
		}
	}
	return r, nil
}
