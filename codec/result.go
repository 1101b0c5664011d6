package codec

import (
	"errors"
	"fmt"
	"time"
)

// maxRetryAfter bounds what a platform can ask for.
const maxRetryAfter = 24 * time.Hour

// SendResult is the data of whatsapp.result.
type SendResult struct {
	Ref        string
	ID         string // messages[0].id; empty where a verb made no message
	Duplicate  bool   // the platform had this ref already
	Error      *Error // nil where the send was accepted
	RetryAfter time.Duration
}

// ParseSendResult reads the data of whatsapp.result: a ref, and the message that
// was made, an empty list where a verb made none, or an error.
func ParseSendResult(data []byte) (SendResult, error) {
	var buf [24]node
	d, err := indexObject(data, 3, buf[:0])
	if err != nil {
		return SendResult{}, fmt.Errorf("reading result: %w", err)
	}
	message, listed := 0, false
	if messages := d.get(0, "messages"); messages != 0 && d.kind(messages) == kindArray {
		message, listed = d.first(messages), true
	}
	var s [2]string
	d.pack(s[:], d.get(0, "ref"), d.child(message, "id"))
	r := SendResult{Ref: s[0], ID: s[1], RetryAfter: d.seconds(d.get(0, "retry_after"))}
	if r.Ref == "" {
		return SendResult{}, errors.New("result without a ref")
	}
	duplicate := d.get(0, "duplicate")
	r.Duplicate = d.kind(duplicate) == kindBool && string(d.raw(duplicate)) == "true"
	if failure := d.get(0, "error"); failure != 0 && d.kind(failure) != kindNull {
		if r.Error = d.error(failure); r.Error == nil {
			return SendResult{}, errors.New("result with an error without a code")
		}
		return r, nil
	}
	if r.ID == "" && (!listed || message != 0) {
		return SendResult{}, errors.New("result with neither a message id nor an error")
	}
	return r, nil
}

// seconds is number n as a duration, up to maxRetryAfter.
func (d *doc) seconds(n int) time.Duration {
	v, ok := d.float(n)
	switch {
	case !ok || v <= 0:
		return 0
	case v >= maxRetryAfter.Seconds():
		return maxRetryAfter
	}
	return time.Duration(v * float64(time.Second))
}
