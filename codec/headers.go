package codec

import (
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// EventAttributes are the CloudEvents attributes of what the bridge publishes.
type EventAttributes struct {
	ID, Source, Type string
	Subject          string // left out where ""
	Time             time.Time
}

// headerRoom holds the headers of nearly everything that the bridge publishes.
const headerRoom = 12

var headers sync.Pool //nolint:gochecknoglobals // holds no state

// BorrowHeader gives an empty header with room for what the bridge publishes: to
// make one for each message is the largest part of what a message costs.
func BorrowHeader() map[string][]string {
	if h, ok := headers.Get().(map[string][]string); ok {
		return h
	}
	return make(map[string][]string, headerRoom)
}

// ReturnHeader takes it back; who borrowed it may not use it any more.
func ReturnHeader(h map[string][]string) {
	if h != nil && len(h) <= headerRoom {
		clear(h)
		headers.Put(h)
	}
}

// SetEventHeaders writes a in NATS binary mode: ce-id, ce-source, ce-type,
// ce-subject, ce-time, ce-specversion and ce-datacontenttype, with values
// percent-encoded as the CloudEvents bindings for NATS and HTTP say.
func SetEventHeaders(h map[string][]string, a EventAttributes) {
	values := make([]string, 0, 7)
	set := func(name, value string) {
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
	set("ce-id", encodePercent(a.ID))
	set("ce-source", encodePercent(a.Source))
	set("ce-type", encodePercent(a.Type))
	if a.Subject != "" {
		set("ce-subject", encodePercent(a.Subject))
	}
	if !a.Time.IsZero() {
		set("ce-time", a.Time.UTC().Format(time.RFC3339Nano))
	}
	set("ce-specversion", specVersion)
	set("ce-datacontenttype", "application/json")
}

// headerValue is the first value of a header, its name in any letter case.
func headerValue(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	for k, v := range h {
		if len(k) == len(name) && len(v) > 0 && strings.EqualFold(k, name) {
			return v[0]
		}
	}
	return ""
}

// encodePercent encodes what may not stand in a header's value: all but the
// printable ASCII characters other than space, double quote and percent.
func encodePercent(s string) string {
	return encode(s, func(c byte) bool { return c <= ' ' || c == '"' || c == '%' || c > '~' })
}

// encode writes as %XX each byte that must says.
func encode(s string, must func(byte) bool) string {
	extra := 0
	for i := range len(s) {
		if must(s[i]) {
			extra += 2
		}
	}
	if extra == 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(s)+extra)
	for i := range len(s) {
		if c := s[i]; must(c) {
			out = append(out, '%', hex[c>>4], hex[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

// decodePercent undoes encodePercent; what is no escape stays, and so does a
// value whose escapes are no UTF-8.
func decodePercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexValue(s[i+1]) >= 0 && hexValue(s[i+2]) >= 0 {
			out = append(out, byte(hexValue(s[i+1])<<4|hexValue(s[i+2])))
			i += 2
		} else {
			out = append(out, s[i])
		}
	}
	if !utf8.Valid(out) {
		return s
	}
	return string(out)
}
