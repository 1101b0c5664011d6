package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/oauth2"
)

// Classes of what a token endpoint says; compare with errors.Is. What is
// neither is worth another try: the network, a server's own trouble.
var (
	// ErrRefused: the credentials or the refresh token were not accepted.
	ErrRefused = errors.New("credentials refused")
	// ErrForbidden: they are known and may not have such a token; someone has
	// to change that on the server's side or in the configuration.
	ErrForbidden = errors.New("not permitted")
	// ErrConflict is what a Keeper answers where another revision stands.
	ErrConflict = errors.New("refresh token changed by someone else")
)

// answerError is a refusal by a token endpoint, without anything of its text:
// error descriptions and bodies have been seen to quote what was sent.
type answerError struct {
	status int
	code   string // of RFC 6749 §5.2, or "" where it is none of those
	class  error  // nil: worth another try
}

// Error names the class, the code and the HTTP status.
func (e *answerError) Error() string {
	var b strings.Builder
	b.WriteString("token endpoint answered ")
	b.WriteString(strconv.Itoa(e.status))
	if e.code != "" {
		b.WriteString(" " + e.code)
	}
	if e.class != nil {
		b.WriteString(": " + e.class.Error())
	}
	return b.String()
}

// Unwrap gives the class.
func (e *answerError) Unwrap() error { return e.class }

// classify turns an answer's status and error code into an error. A code
// decides before the status, as some servers answer every error with 400 or
// even 200. A code that is not a standard's own is not repeated.
func classify(status int, code string) error {
	e := &answerError{status: status, code: code}
	switch code {
	case "invalid_grant", "invalid_client", "invalid_request", "unsupported_grant_type":
		e.class = ErrRefused
	case "unauthorized_client", "access_denied", "invalid_scope":
		e.class = ErrForbidden
	case "temporarily_unavailable", "server_error", "slow_down":
	default:
		e.code = ""
		switch status {
		case http.StatusBadRequest, http.StatusUnauthorized:
			e.class = ErrRefused
		case http.StatusForbidden:
			e.class = ErrForbidden
		}
	}
	return e
}

// scrub makes an error of x/oauth2 fit to be printed: RetrieveError quotes the
// body, url.Error the whole URL, and a JSON error a piece of the answer.
func scrub(err error) error {
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return classify(answer.Response.StatusCode, answer.ErrorCode)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("asking the token endpoint: %w", context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("asking the token endpoint: %w", context.DeadlineExceeded)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if failed.Timeout() {
			return errors.New("asking the token endpoint: timed out")
		}
		// A net.OpError says host and reason; other causes may quote what was
		// received.
		if op, ok := errors.AsType[*net.OpError](failed.Err); ok {
			return fmt.Errorf("asking the token endpoint: %w", op)
		}
		if cert, ok := errors.AsType[*tls.CertificateVerificationError](failed.Err); ok {
			return fmt.Errorf("asking the token endpoint: %w", cert)
		}
		return errors.New("asking the token endpoint: the connection failed or the answer was not HTTP")
	}
	return errors.New("reading the token endpoint's answer: not a token")
}
