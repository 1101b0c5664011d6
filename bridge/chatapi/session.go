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

// settled is how long a connection has to last before what failed earlier is
// forgotten: the backoff, and a refused token.
const settled = time.Second

// sourcePrefix stands before a session's id in the source of the CloudEvents
// that it writes.
const sourcePrefix = "/wabridge/"

// Session is one WhatsApp identity on the Chat API. It implements
// bridge.Session. It keeps little: a process may have 10,000 that do nothing.
type Session struct {
	shared *Shared
	source string // of the CloudEvents that it writes
	url    string // of its definition
	host   bridge.Host
	tokens auth.Source
	turn   func(context.Context) (func(), error)

	sends   sends
	link    atomic.Pointer[link] // the connection; nil where there is none
	resume  chan struct{}        // Resume was called
	missing atomic.Bool          // a scope for events is not granted

	// Of Run alone.
	refreshed bool // the token that was refused is replaced once
	numbers   *numbering
	last      bridge.Change
	retry     backoff // lost connections
	slow      backoff // refused tokens and unknown sessions
	refused   string  // the token that was refused last
}

var _ bridge.Session = (*Session)(nil)

// New returns a session that does nothing until Run, or every fault of c.
func New(c Config) (*Session, error) {
	if err := c.prepare(); err != nil {
		return nil, fmt.Errorf("chat API session: %w", err)
	}
	return &Session{
		shared: c.Shared,
		source: sourcePrefix + c.Definition.ID,
		url:    c.Definition.URL,
		host:   c.Host,
		tokens: c.Tokens,
		turn:   c.Turn,
		resume: make(chan struct{}, 1),
	}, nil
}

// id is the session's.
func (s *Session) id() string { return s.source[len(sourcePrefix):] }

// Idempotent implements bridge.Session: the platform delivers a ref once.
func (s *Session) Idempotent() bool { return true }

// Window implements bridge.Session.
func (s *Session) Window() int { return s.sends.size() }

// Resume implements bridge.Session: whatever Run waits for before it connects
// again, it waits no longer, and an account that the platform let send nothing
// tries again.
func (s *Session) Resume() {
	signal(s.resume)
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

// Run implements bridge.Session. It returns nil once ctx has ended, the
// answers have been waited for and the connection is closed.
func (s *Session) Run(ctx context.Context) error {
	s.changed(bridge.Connecting, 0, "")
	for {
		lasted, f := s.connection(ctx)
		if over(ctx) {
			break
		}
		s.shared.Metrics.ended(ctx, f.cause)
		if lasted >= settled {
			s.retry.reset()
			s.slow.reset()
			s.refreshed = false
		}
		wait, now := s.consequence(f)
		if now {
			continue
		}
		state, class := f.state()
		s.changed(state, class, f.Error())
		if s.pause(ctx, wait) {
			s.sends.allow()
			s.retry.reset()
			s.slow.reset()
			s.refreshed = false
			s.changed(bridge.Connecting, 0, "resumed")
		}
		if over(ctx) {
			break
		}
	}
	s.changed(bridge.Stopped, 0, "")
	return nil
}

// over reports whether ctx has ended.
func over(ctx context.Context) bool { return ctx.Err() != nil }

// consequence says how long to wait after f: negative means until Resume. now
// says not to wait, nor to speak of it: the token is replaced and tried once.
func (s *Session) consequence(f *fault) (wait time.Duration, now bool) {
	switch f.cause {
	case causeForbidden, causeReplaced:
		return -1, false
	case causeToken:
		if s.refused != "" && !s.refreshed {
			s.refreshed = true
			return 0, true
		}
		// After the wait the same token may be tried again: there may be no other.
		s.refused = ""
		return s.slow.wait(s.shared.UnauthorizedMin, s.shared.UnauthorizedMax), false
	case causeNoSession:
		return s.slow.wait(s.shared.UnauthorizedMin, s.shared.UnauthorizedMax), false
	default:
		return max(s.retry.spread(s.shared.BackoffMin, s.shared.BackoffMax), f.wait+jitter(f.wait/10)), false
	}
}

// pause waits for d, for ever where it is negative, and reports whether Resume
// ended the wait.
func (s *Session) pause(ctx context.Context, d time.Duration) bool {
	var after <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		after = timer.C
	}
	select {
	case <-ctx.Done():
	case <-after:
	case <-s.resume:
		return true
	}
	return false
}

// changed tells the host where the session stands, unless it said so already.
func (s *Session) changed(state bridge.State, class codec.Class, reason string) {
	if s.last.State == state && s.last.Reason == reason && s.last.Class == class {
		return
	}
	s.last = bridge.Change{State: state, Reason: reason, Class: class, At: time.Now()}
	s.host.Changed(s.last)
}

// connection makes one connection and serves it to its end. It returns how
// long the connection was there, and why it is not any more.
//
// What waits for long, here and below, keeps its frame small: the stacks of
// idle sessions are most of what they cost.
func (s *Session) connection(ctx context.Context) (lasted time.Duration, f *fault) {
	arrived, err := s.turn(ctx)
	if err != nil {
		return 0, lost("waiting to connect", err)
	}
	l, f := s.establishApart(ctx)
	arrived()
	if f != nil {
		return 0, f
	}
	lasted, f = l.run(ctx)
	if f.cause == causeToken {
		s.refuse(l.token.AccessToken)
	}
	return lasted, f
}

// establishApart connects in a goroutine of its own, which takes the stack that
// a token and a handshake need with it: the one of Run stays small.
func (s *Session) establishApart(ctx context.Context) (l *link, f *fault) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l, f = s.establish(ctx)
	}()
	<-done
	return l, f
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
	select {
	case <-s.resume:
		s.sends.allow()
	default:
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
