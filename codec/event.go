package codec

import (
	"errors"
	"strconv"
	"time"
)

// Event is one CloudEvent of the Chat API, in JSON format.
type Event struct {
	ID, Source, Type string
	Subject          string // "" for none, as all that follow
	Time             string // RFC 3339
	Sequence         string // extension: 20 digits
	TraceParent      string // extension
	TraceState       string // extension
	Data             []byte // raw JSON, nil for none; of a parsed event it aliases the frame
}

// ParseEvent reads a frame. Errors are for people and quote nothing of it.
func ParseEvent(frame []byte) (Event, error) {
	var buf [24]node
	d, err := indexObject(frame, 1, buf[:0])
	if err != nil {
		return Event{}, err
	}
	var version, id, source, kind, subject, moment, sequence, traceParent, traceState, data int
	for n := d.first(0); n != 0; n = d.next(n) {
		switch {
		case d.named(n, "specversion"):
			version = n
		case d.named(n, "id"):
			id = n
		case d.named(n, "source"):
			source = n
		case d.named(n, "type"):
			kind = n
		case d.named(n, "subject"):
			subject = n
		case d.named(n, "time"):
			moment = n
		case d.named(n, "sequence"):
			sequence = n
		case d.named(n, "traceparent"):
			traceParent = n
		case d.named(n, "tracestate"):
			traceState = n
		case d.named(n, "data"):
			data = n
		case d.named(n, "data_base64"):
			return Event{}, errors.New("CloudEvent with data_base64: data must be JSON")
		}
	}
	if !d.is(version, specVersion) {
		return Event{}, errors.New("not a CloudEvent: specversion must be 1.0")
	}
	var s [8]string
	d.pack(s[:], id, source, kind, subject, moment, sequence, traceParent, traceState)
	e := Event{
		ID: s[0], Source: s[1], Type: s[2], Subject: s[3], Time: s[4],
		Sequence: s[5], TraceParent: s[6], TraceState: s[7],
	}
	if e.ID == "" || e.Source == "" || e.Type == "" {
		return Event{}, errors.New("not a CloudEvent: id, source and type must be strings and not empty")
	}
	if moment != 0 {
		if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
			return Event{}, errors.New("not a CloudEvent: time must be RFC 3339")
		}
	}
	if data != 0 {
		e.Data = d.nodes[data].of(frame)
	}
	return e, nil
}

// AppendEvent appends e as a frame. Data is spliced in as it is and must be JSON.
func AppendEvent(dst []byte, e *Event) []byte {
	dst = append(dst, `{"specversion":"1.0"`...)
	dst = appendMember(dst, "id", e.ID)
	dst = appendMember(dst, "source", e.Source)
	dst = appendMember(dst, "type", e.Type)
	dst = appendMember(dst, "subject", e.Subject)
	dst = appendMember(dst, "time", e.Time)
	dst = appendMember(dst, "sequence", e.Sequence)
	dst = appendMember(dst, "traceparent", e.TraceParent)
	dst = appendMember(dst, "tracestate", e.TraceState)
	if e.Data != nil {
		dst = append(dst, `,"datacontenttype":"application/json"`...)
		dst = appendRaw(dst, "data", e.Data)
	}
	return append(dst, '}')
}

// AppendTokenData appends the data of whatsapp.token.
func AppendTokenData(dst []byte, token string) []byte {
	return append(appendString(append(dst, `{"access_token":`...), token), '}')
}

// AppendAckData appends the data of whatsapp.ack.
func AppendAckData(dst []byte, sequence uint64) []byte {
	dst = AppendSequence(append(dst, `{"sequence":"`...), sequence)
	return append(dst, '"', '}')
}

// AppendSequence appends a sequence as the Chat API writes it: 20 digits,
// zero-padded, so that sequences sort as text.
func AppendSequence(dst []byte, sequence uint64) []byte {
	const zeros = "00000000000000000000"
	var buf [len(zeros)]byte
	digits := strconv.AppendUint(buf[:0], sequence, 10)
	return append(append(dst, zeros[len(digits):]...), digits...)
}

// ParseSequence reads it back; fewer digits are taken, too. To find that there
// is none costs nothing: answers to sends have none.
func ParseSequence(s string) (uint64, error) {
	if s == "" {
		return 0, errSequence
	}
	sequence, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errSequence
	}
	return sequence, nil
}

var errSequence = errors.New("sequence must be up to 20 digits")
