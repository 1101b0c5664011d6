package codec

import "errors"

// Error is the Cloud API's error object.
type Error struct {
	Code, Subcode int
	Type          string
	Title         string // "title", else the message
	Message       string
	Detail        string // error_data.details, else error_data where it is a string, else details
	Transient     bool
	Trace         string // fbtrace_id
}

// ParseError reads an error object, or {"error": object}. It fails where raw is
// neither: an error must have its code.
func ParseError(raw []byte) (*Error, error) {
	var buf [24]node
	d, err := indexObject(raw, 3, buf[:0])
	if err != nil {
		return nil, err
	}
	n := 0
	if inner := d.get(0, "error"); d.kind(inner) == kindObject && inner != 0 {
		n = inner
	}
	if e := d.error(n); e != nil {
		return e, nil
	}
	return nil, errors.New("error object without a code")
}

// error reads the error object n, nil where it has no code.
func (d *doc) error(n int) *Error {
	code, ok := d.number(d.get(n, "code"))
	if !ok {
		return nil
	}
	subcode, _ := d.number(d.get(n, "error_subcode"))
	e := &Error{
		Code:    code,
		Subcode: subcode,
		Type:    d.str(d.get(n, "type")),
		Title:   d.str(d.get(n, "title")),
		Message: d.str(d.get(n, "message")),
		Detail:  d.str(d.get(n, "details")),
		Trace:   d.str(d.get(n, "fbtrace_id")),
	}
	transient := d.get(n, "is_transient")
	e.Transient = d.kind(transient) == kindBool && string(d.raw(transient)) == "true"
	if e.Title == "" {
		e.Title = e.Message
	}
	data := d.get(n, "error_data")
	if detail := d.str(d.child(data, "details")); detail != "" {
		e.Detail = detail
	} else if detail = d.str(data); detail != "" {
		e.Detail = detail
	}
	return e
}
