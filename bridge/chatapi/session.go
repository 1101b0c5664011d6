package chatapi

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

// sourcePrefix stands before a session's id in the source of the CloudEvents
// that it writes.
const sourcePrefix = "/wabridge/"

// Session is one WhatsApp identity on the Chat API. It implements
// bridge.Session. It keeps little: a process may have 10,000 that do nothing.
type Session struct {
	env    *Env
	source string // of the CloudEvents that it writes
	url    string // of its definition
	host   bridge.Host
	tokens auth.Source
	turn   func(context.Context) (func(), error)

	sends   sends
	link    atomic.Pointer[link] // the connection; nil where there is none
	resume  atomic.Bool          // Resume was called, and is not seen to
	missing atomic.Bool          // a scope for events is not granted

	stopping atomic.Bool
	seeking  atomic.Pointer[context.CancelFunc] // ends what seek waits for
	paused   atomic.Pointer[chan struct{}]      // where pause hears of Resume
	ended    func()

	// Of seek, and of the link that it has found.
	refreshed bool // the token that was refused is replaced once
	numbers   *numbering
	last      bridge.Change
	retry     backoff // lost connections
	slow      backoff // refused tokens and unknown sessions
	refused   string  // the token that was refused last
}

var _ bridge.Session = (*Session)(nil)

// New returns a session that does nothing until Start, or every fault of c.
func New(c Config) (*Session, error) {
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("chat API session: %w", err)
	}
	return &Session{
		env:    c.Env,
		source: sourcePrefix + c.Definition.ID,
		url:    c.Definition.URL,
		host:   c.Host,
		tokens: c.Tokens,
		turn:   c.Turn,
	}, nil
}

// id is the session's.
func (s *Session) id() string { return s.source[len(sourcePrefix):] }

// Idempotent implements bridge.Session: the platform delivers a ref once.
func (s *Session) Idempotent() bool { return true }

// Window implements bridge.Session.
func (s *Session) Window() int { return s.sends.size() }

// Resume implements bridge.Session: whatever it waits for before it connects
// again, it waits no longer, and an account that the platform let send nothing
// tries again.
func (s *Session) Resume() {
	s.resume.Store(true)
	if paused := s.paused.Load(); paused != nil {
		signal(*paused)
	}
	s.kick()
}

// Send implements bridge.Session. A send that cannot be taken now is done at
// once, as transient; so is one whose ref is still unanswered.
func (s *Session) Send(out *bridge.Outgoing) {
	if refusal := s.sends.add(out, time.Now()); refusal != "" {
		out.Done(bridge.Result{Class: codec.Transient, Reason: refusal})
		return
	}
	s.kick()
}

// kick has the connection, where there is one, look for what is to be done.
func (s *Session) kick() {
	if l := s.link.Load(); l != nil {
		l.kick()
	}
}

// signal makes a channel of capacity one readable.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// establish connects, and says so.
func (s *Session) establish(ctx context.Context) (*link, *fault) {
	token, err := s.token(ctx)
	if err != nil {
		return nil, readFault(err)
	}
	l, err := s.connect(ctx, token)
	if err != nil {
		f := readFault(err)
		if f.cause == causeToken {
			s.refuse(token.AccessToken)
		}
		return nil, f
	}
	// What was asked for while there was no connection has happened.
	if s.resume.Swap(false) {
		s.sends.allow()
	}
	s.announce()
	s.sends.open(l.window)
	s.host.Wake()
	return l, nil
}

// announce says where the session stands while it is connected.
func (s *Session) announce() {
	code := s.sends.denial()
	switch {
	case code != 0:
		s.changed(bridge.Forbidden, codec.Denied, "the platform lets this account send nothing (code "+strconv.Itoa(code)+
			") and messages still arrive: put it right, then resume the session")
	case s.missing.Load():
		s.changed(bridge.Connected, 0, "without "+ScopeManagement+": only messages and statuses arrive")
	default:
		s.changed(bridge.Connected, 0, "")
	}
}

// resumed lets sends go out again that the platform had refused the account.
func (s *Session) resumed() {
	if s.sends.allow() {
		s.announce()
		s.host.Wake()
	}
}

// token gets the token to connect with: a *fault otherwise. A token that was
// refused and is still the only one is not tried until the wait is over.
func (s *Session) token(ctx context.Context) (auth.Token, error) {
	token, err := s.tokens.Token(ctx)
	if err != nil {
		return auth.Token{}, tokenFault(err)
	}
	if s.refreshed && token.AccessToken == s.refused {
		return auth.Token{}, &fault{cause: causeToken, reason: "the platform refused the token, and there is no other"}
	}
	return token, nil
}

// refuse notes that the platform refused token.
func (s *Session) refuse(token string) {
	s.refused = token
	s.tokens.Invalidate(token)
}

// granted checks the scopes that the platform lists; a *fault where the session
// can do nothing with them.
func (s *Session) granted(scopes []string) error {
	if missing := auth.Missing(scopes, []string{ScopeMessaging}); missing != nil {
		return &fault{cause: causeForbidden, reason: "the token does not grant " + strings.Join(missing, ", ")}
	}
	s.missing.Store(auth.Missing(scopes, []string{ScopeManagement}) != nil)
	return nil
}
