package cloudapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"wabridge/codec"
)

// callError is a call that got no whole answer.
type callError struct {
	err error
	// written: some of the request may have left.
	written bool
}

// Error says what failed, never the URL: its query can hold secrets.
func (e *callError) Error() string { return "calling Graph: " + e.err.Error() }

// Unwrap gives the cause.
func (e *callError) Unwrap() error { return e.err }

// AnswerError is a refusal by Graph. Its text holds numbers only: Meta's prose
// can quote what was sent.
type AnswerError struct {
	// Status is the HTTP status.
	Status int
	// Object is Graph's error object; nil where it sent none.
	Object *codec.Error
	// Wait is how long Graph asked to wait; 0 where it did not say.
	Wait time.Duration
}

// Error names status and code.
func (e *AnswerError) Error() string {
	if e.Object == nil {
		return fmt.Sprintf("Graph answered HTTP %d without an error object", e.Status)
	}
	text := fmt.Sprintf("Graph answered HTTP %d, code %d", e.Status, e.Object.Code)
	if e.Object.Subcode != 0 {
		text += fmt.Sprintf(", subcode %d", e.Object.Subcode)
	}
	return text
}

// rule is what follows from the refusal. Graph refuses with an error object: a
// redirect or a 404 without one comes from something in between, or from a URL
// that is not Graph's, and condemns no message.
func (e *AnswerError) rule() codec.Rule {
	rule := codec.Classify(e.Object, e.Status)
	if e.Object == nil && (rule.Class == codec.Permanent || e.Status < http.StatusBadRequest) {
		return codec.Rule{Class: codec.Transient, Tries: bareTries}
	}
	return rule
}

// answer is one whole answer of Graph.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// refusal returns the error that the answer is, or nil.
func (a *answer) refusal() error {
	if a.status/100 == 2 {
		return nil
	}
	return &AnswerError{Status: a.status, Object: a.object(), Wait: retryAfter(a.header)}
}

// object returns the answer's error object, or nil. A proxy's JSON is none.
func (a *answer) object() *codec.Error {
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(a.body, &outer) != nil || len(outer.Error) == 0 || outer.Error[0] != '{' {
		return nil
	}
	object, err := codec.ParseError(outer.Error)
	if err != nil {
		return nil
	}
	return object
}

// retryAfter reads the header's seconds, an hour at most.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}

// request makes a request to path below the version, with a bearer token.
func (g *Graph) request(ctx context.Context, method, path, token string, query url.Values, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, g.base.String()+"/"+path, body)
	if err != nil {
		return nil, fmt.Errorf("making a Graph request: %w", withoutURL(err))
	}
	req.URL.RawQuery = query.Encode()
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
		if q := g.query(token); q != "" {
			if req.URL.RawQuery != "" {
				q = req.URL.RawQuery + "&" + q
			}
			req.URL.RawQuery = q
		}
	}
	return req, nil
}

// do sends a request and reads the whole answer. Its errors are *callError.
func (g *Graph) do(req *http.Request) (*answer, error) {
	var written atomic.Bool
	trace := &httptrace.ClientTrace{
		// The transport takes another connection where nothing was written to
		// the first.
		GotConn:      func(httptrace.GotConnInfo) { written.Store(false) },
		WroteHeaders: func() { written.Store(true) },
	}
	res, err := g.http.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, &callError{err: withoutURL(err), written: written.Load()}
	}
	defer res.Body.Close() //nolint:errcheck // the answer was read, or its error is reported
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, &callError{err: fmt.Errorf("reading the answer: %w", err), written: true}
	}
	if len(body) > maxAnswer {
		return nil, &callError{err: errors.New("reading the answer: too large"), written: true}
	}
	return &answer{status: res.StatusCode, header: res.Header, body: body}, nil
}

// withoutURL drops what http.Client puts round a cause: the whole URL.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// call makes one management call with the session's token: in, where not nil,
// goes as JSON, and the answer is read into out where that is not nil. Errors
// are *callError, *AnswerError, or of the token source.
func (g *Graph) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	if g.token == nil {
		return errors.New("calling Graph: no token is configured")
	}
	token, err := g.token.Token(ctx)
	if err != nil {
		return fmt.Errorf("getting a token: %w", err)
	}
	return g.callWith(ctx, token.AccessToken, method, path, query, in, out)
}

// callWith is call with the given bearer token; none where it is empty.
func (g *Graph) callWith(ctx context.Context, token, method, path string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	err := g.roundTrip(ctx, token, method, path, query, in, out)
	g.log.Debug("called Graph", "method", method, "path", path, "error", err)
	return err
}

// roundTrip is one request and its answer, both JSON.
func (g *Graph) roundTrip(ctx context.Context, token, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("writing a Graph request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := g.request(ctx, method, path, token, query, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	a, err := g.do(req)
	if err != nil {
		return err
	}
	if err := a.refusal(); err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return errors.New("reading Graph's answer: not the JSON that was expected")
	}
	return nil
}
