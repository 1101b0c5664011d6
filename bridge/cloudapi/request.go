package cloudapi

import (
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
)

const signatureHeader = "X-Hub-Signature-256"

// status is the HTTP status of a refusal. Meta takes everything but 200 as a
// failure and sends again; the rest is for people.
func (r refusal) status() int {
	switch r {
	case refusedMethod:
		return http.StatusMethodNotAllowed
	case refusedPath:
		return http.StatusNotFound
	case refusedVerify:
		return http.StatusForbidden
	case refusedType:
		return http.StatusUnsupportedMediaType
	case refusedSignature:
		return http.StatusUnauthorized
	case refusedSize:
		return http.StatusRequestEntityTooLarge
	case refusedTruncated:
		return http.StatusBadRequest
	case refusedSlow:
		return http.StatusRequestTimeout
	default:
		return http.StatusServiceUnavailable
	}
}

// examine refuses by the header alone what cannot be a webhook of Meta's.
func examine(r *http.Request) refusal {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	encoding := r.Header.Get("Content-Encoding")
	switch {
	case err != nil || media != "application/json",
		charset != "" && !strings.EqualFold(charset, "utf-8"),
		encoding != "" && !strings.EqualFold(encoding, "identity"):
		return refusedType
	case !looksSigned(r.Header.Get(signatureHeader)):
		return refusedSignature
	case r.ContentLength > maxWebhook:
		return refusedSize
	default:
		return ""
	}
}

// looksSigned reports whether a signature has the form of one.
func looksSigned(signature string) bool {
	digest, found := strings.CutPrefix(signature, "sha256=")
	return found && len(digest) == 2*sha256.Size && strings.Trim(digest, "0123456789abcdefABCDEF") == ""
}

// space is what one request holds of the memory that all share.
type space struct {
	hooks *Webhooks
	taken int64
	large bool
}

// grow makes room for a body of size bytes; false where there is none left.
// Bodies above smallBody have room of their own, so that a few huge ones do not
// keep the many small ones out.
func (s *space) grow(size int) bool {
	if size > smallBody {
		s.large = s.large || s.hooks.large.TryAcquire(1)
		return s.large
	}
	more := int64(size) - s.taken
	if more <= 0 {
		return true
	}
	if !s.hooks.space.TryAcquire(more) {
		return false
	}
	s.taken += more
	return true
}

func (s *space) release() {
	s.hooks.space.Release(s.taken)
	if s.large {
		s.hooks.large.Release(1)
	}
}

// deadline bounds how long the request may take to arrive.
func deadline(rw http.ResponseWriter, at time.Time) {
	// A writer that knows no deadline is a test's; a server's always does.
	_ = http.NewResponseController(rw).SetReadDeadline(at)
}

// read takes the body, within time and space. A sender takes up room as its
// bytes arrive, so that a slow one takes little.
func (w *Webhooks) read(rw http.ResponseWriter, r *http.Request, room *space) ([]byte, refusal) {
	size := firstRead
	if r.ContentLength >= 0 {
		size = min(size, int(r.ContentLength)+1)
	}
	var body []byte
	for {
		if len(body) == cap(body) {
			if !room.grow(size) {
				return nil, refusedBusy
			}
			body = append(make([]byte, 0, size), body...)
			size = min(2*size, maxWebhook+1)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > maxWebhook:
			return nil, refusedSize
		case errors.Is(err, io.EOF):
			// The end of the deadline would look like the end of the connection
			// while the request waits to be stored.
			deadline(rw, time.Time{})
			return body, ""
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, refusedSlow
		case err != nil:
			return nil, refusedTruncated
		}
	}
}

// trace is the trace context that a request carries.
type trace struct{ parent, state string }

// traceOf reads a request's trace context: Meta sends none, a proxy may.
func traceOf(r *http.Request) trace {
	t := trace{parent: r.Header.Get("traceparent"), state: r.Header.Get("tracestate")}
	if len(t.parent) > 64 || len(t.state) > 512 {
		return trace{}
	}
	return t
}
