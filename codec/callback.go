package codec

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	callbackMember = "biz_opaque_callback_data"
	callbackPrefix = "wab1;"
)

// Callback is what the bridge writes into biz_opaque_callback_data, and what
// statuses bring back: "wab1;<traceparent>;<sequence>;<ref>;<value>".
type Callback struct {
	TraceParent string
	Sequence    uint64 // of the command in WA_SEND
	Ref         string // percent-encoded where it holds "%", ";", spaces or controls
	Value       string // the user's own, as it is
}

// Encode writes c. It fails with an *InvalidError where the whole is longer than
// 512 characters (code points): then the user's value is too long. A TraceParent
// that holds ";" is none and is left out.
func (c Callback) Encode() (string, error) {
	traceParent := c.TraceParent
	if strings.Contains(traceParent, ";") {
		traceParent = ""
	}
	ref := encode(c.Ref, func(b byte) bool { return b <= ' ' || b == '%' || b == ';' || b == 0x7f })
	s := callbackPrefix + traceParent + ";" + strconv.FormatUint(c.Sequence, 10) + ";" + ref + ";" + c.Value
	if has := utf8.RuneCountInString(s); has > maxCallbackData {
		most := max(maxCallbackData-(has-utf8.RuneCountInString(c.Value)), 0)
		return "", tooLong(callbackMember, most, "characters beside what the bridge adds to it", utf8.RuneCountInString(c.Value))
	}
	return s, nil
}

// ParseCallback reads it back. It is false where somebody else wrote it.
func ParseCallback(s string) (Callback, bool) {
	rest, ok := strings.CutPrefix(s, callbackPrefix)
	if !ok {
		return Callback{}, false
	}
	parts := strings.SplitN(rest, ";", 4)
	if len(parts) != 4 {
		return Callback{}, false
	}
	sequence, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return Callback{}, false
	}
	return Callback{TraceParent: parts[0], Sequence: sequence, Ref: decodePercent(parts[2]), Value: parts[3]}, true
}
