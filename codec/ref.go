package codec

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// Headers of a command.
const (
	HeaderRef      = "Wa-Ref"
	HeaderMsgID    = "Nats-Msg-Id"
	HeaderDeadline = "Wa-Deadline"
)

// maxRef is the most characters of a ref.
const maxRef = 128

// Ref gives the idempotency key of what a command sends: Wa-Ref, else
// Nats-Msg-Id, else "<stream>:<stream created, unix seconds>:<sequence>". The
// error is an *InvalidError where the header's value is longer than 128
// characters or not printable; an empty header counts as none.
func Ref(header map[string][]string, stream string, created time.Time, sequence uint64) (string, error) {
	for _, name := range [...]string{HeaderRef, HeaderMsgID} {
		ref := headerValue(header, name)
		if ref == "" {
			continue
		}
		if err := checkRef(name, ref); err != nil {
			return "", err
		}
		return ref, nil
	}
	return stream + ":" + strconv.FormatInt(created.Unix(), 10) + ":" + strconv.FormatUint(sequence, 10), nil
}

func checkRef(name, ref string) *InvalidError {
	if has := utf8.RuneCountInString(ref); has > maxRef {
		return tooLong(name, maxRef, "characters", has)
	}
	if !utf8.ValidString(ref) {
		return invalid(name, "must be UTF-8")
	}
	for _, r := range ref {
		if !unicode.IsPrint(r) {
			return invalid(name, "must be printable characters")
		}
	}
	return nil
}

// Deadline reads Wa-Deadline, the moment after which a command must not be sent
// any more (RFC 3339); zero where there is none. The error is an *InvalidError.
func Deadline(header map[string][]string) (time.Time, error) {
	value := headerValue(header, HeaderDeadline)
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, invalid(HeaderDeadline, "must be a time such as 2026-11-23T12:00:00Z (RFC 3339)")
	}
	return t, nil
}

// isDate reports whether s is YYYY-MM-DD.
func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}
