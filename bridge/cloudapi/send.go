package cloudapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// bareTries bounds how often a refusal is met with another try that does not
// say why.
const bareTries = 3

// Send implements bridge.Session. A worker takes the send; there are at most as
// many workers as the window is wide, and none when nothing is to be sent.
func (s *Session) Send(out *bridge.Outgoing) {
	s.mu.Lock()
	if s.spawn == nil {
		s.mu.Unlock()
		out.Done(bridge.Result{Class: codec.Transient, Reason: "the session is not running"})
		return
	}
	s.queue = append(s.queue, out)
	if s.workers < int(s.window.Load()) {
		s.workers++
		s.spawn()
	}
	s.mu.Unlock()
}

// work sends what is queued and ends when nothing is.
func (s *Session) work(ctx context.Context) {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.queue = nil
			s.workers--
			s.mu.Unlock()
			return
		}
		out := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		s.mu.Unlock()
		out.Done(s.deliver(ctx, out))
	}
}

// deliver sends one command, tells the session what it learnt and says what
// came of the command.
func (s *Session) deliver(ctx context.Context, out *bridge.Outgoing) bridge.Result {
	if !s.open.Load() {
		return bridge.Result{Class: codec.Transient, Reason: "the session is not connected"}
	}
	body, keys, err := s.bodyOf(ctx, out)
	if err != nil {
		return s.learn(classify(err), err, "")
	}
	result, token, err := s.post(ctx, out, body)
	if len(keys) > 0 && codec.GoneMedia(result.Error, out.Type) {
		// Meta has dropped a file before its time: upload it again.
		s.media.forget(ctx, keys)
		if body, _, err = s.bodyOf(ctx, out); err != nil {
			return s.learn(classify(err), err, "")
		}
		result, token, err = s.post(ctx, out, body)
	}
	if codec.GoneMedia(result.Error, out.Type) {
		result.Class, result.Scope = codec.Permanent, codec.ScopeMessage
	}
	return s.learn(result, err, token)
}

// bodyOf returns what is to be sent of a command, and where the ids of the files
// that were uploaded for it are kept.
func (s *Session) bodyOf(ctx context.Context, out *bridge.Outgoing) (body []byte, keys []string, err error) {
	switch {
	case out.Media != nil && s.media != nil:
		return s.media.replace(ctx, out)
	case out.Media != nil && out.Media.Object != "":
		off := errors.New("the message names an object, and media are switched off: name an id or a link")
		return nil, nil, &mediaError{class: codec.Invalid, err: off}
	default:
		return out.Body, nil, nil
	}
}

// post makes one call of /messages. It returns the token that it used, and the
// error that its result stands for.
func (s *Session) post(ctx context.Context, out *bridge.Outgoing, body []byte) (bridge.Result, string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	source, err := s.graph.token.Token(ctx)
	if err != nil {
		err = tokenError(err)
		return classify(err), "", err
	}
	token := source.AccessToken
	req, err := s.graph.request(ctx, http.MethodPost, s.phoneID+"/messages", token, nil, bytes.NewReader(body))
	if err != nil {
		return classify(err), token, err
	}
	req.Header.Set("Content-Type", "application/json")
	if out.TraceParent != "" {
		req.Header.Set("traceparent", out.TraceParent)
		if out.TraceState != "" {
			req.Header.Set("tracestate", out.TraceState)
		}
	}
	quiet := time.AfterFunc(s.quiet, s.graph.Close)
	a, err := s.graph.do(req)
	quiet.Stop()
	if err != nil {
		return classify(err), token, err
	}
	used := readUsage(a.header)
	s.used(used)
	if err := a.refusal(); err != nil {
		result := classify(err)
		if result.Class == codec.Throttled {
			result.Wait = max(result.Wait, used.regain)
		}
		return result, token, err
	}
	return accepted(a.body), token, nil
}

// accepted reads the answer to a send that Graph took. A template's
// message_status (held for a quality check, paused) is Meta's to follow: the
// statuses tell what becomes of it.
func accepted(body []byte) bridge.Result {
	var took struct {
		Success  bool `json:"success"` // the verbs
		Messages []struct {
			ID string `json:"id"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &took); err != nil {
		return bridge.Result{Class: codec.Unknown, Reason: "Graph answered 200 with something that is not JSON"}
	}
	switch {
	case len(took.Messages) > 0 && took.Messages[0].ID != "":
		return bridge.Result{Class: codec.Accepted, ID: took.Messages[0].ID}
	case took.Success:
		return bridge.Result{Class: codec.Accepted}
	default:
		return bridge.Result{Class: codec.Unknown, Reason: "Graph answered 200 without a message id"}
	}
}

// learn tells the session what a result says about it, and returns the result.
// The token is the one that the call was made with; "" where that is not known
// here.
func (s *Session) learn(result bridge.Result, err error, token string) bridge.Result {
	if _, cut := errors.AsType[*callError](err); cut {
		s.failed(result.Reason)
		return result
	}
	if token != "" {
		s.failures.Store(0) // Graph answered, whatever it said
	}
	switch result.Class {
	case codec.Accepted:
		s.proven.Store(true)
	case codec.Unauthorized, codec.Denied:
		s.lost(loss{class: result.Class, reason: result.Reason, token: token})
	default:
	}
	return result
}

// classify says what an error of a send amounts to.
func classify(err error) bridge.Result {
	result := bridge.Result{Class: codec.Transient, Reason: err.Error()}
	if bad, ok := errors.AsType[*mediaError](err); ok {
		// Before what it wraps: the message itself has not left.
		result.Class, result.Tries = bad.class, bad.tries
		return result
	}
	if said, ok := errors.AsType[*AnswerError](err); ok {
		rule := said.rule()
		result.Class, result.Scope, result.Tries = rule.Class, rule.Scope, rule.Tries
		result.Wait = max(rule.Wait, said.Wait)
		result.Error = said.Object
	}
	if cut, ok := errors.AsType[*callError](err); ok && cut.written {
		result.Class = codec.Unknown
	}
	if refused, ok := errors.AsType[*refusedToken](err); ok {
		result.Class, result.Scope = refused.class, codec.ScopeSession
	}
	return result
}

// refusedToken is a token source that has no token to give.
type refusedToken struct {
	class codec.Class
	err   error
}

func (e *refusedToken) Error() string { return fmt.Sprintf("getting a token: %v", e.err) }
func (e *refusedToken) Unwrap() error { return e.err }
