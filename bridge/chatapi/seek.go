package chatapi

import (
	"context"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// settled is how long a connection has to last before what failed earlier is
// forgotten: the backoff, and a refused token.
const settled = time.Second

// Start implements bridge.Session. The session ends once the answers have been
// waited for and the connection is closed.
func (s *Session) Start(ended func()) (stop func()) {
	s.ended = ended
	s.changed(bridge.Connecting, 0, "")
	go s.seek(s.env.base, 0, nil)
	return s.stop
}

// stop ends what Start began.
func (s *Session) stop() {
	s.stopping.Store(true)
	if cancel := s.seeking.Load(); cancel != nil {
		(*cancel)()
	}
	s.kick()
}

// seek makes a connection, after f has ended one that lasted, or ends the session
// where that is to stop. It retries until then. It is called at the beginning and
// at the end of each connection, in a goroutine of its own.
func (s *Session) seek(ctx context.Context, lasted time.Duration, f *fault) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.seeking.Store(&cancel)
	if s.stopping.Load() {
		cancel()
	}
	for {
		if f != nil && !over(ctx) {
			s.away(ctx, lasted, f)
		}
		if over(ctx) {
			s.changed(bridge.Stopped, 0, "")
			s.ended()
			return
		}
		l, failed := s.connection(ctx)
		if failed == nil {
			s.seeking.Store(nil)
			l.run()
			return
		}
		lasted, f = 0, failed
	}
}

// away stays away for as long as f asks for, and says so.
func (s *Session) away(ctx context.Context, lasted time.Duration, f *fault) {
	s.env.Metrics.ended(ctx, f.cause)
	if lasted >= settled {
		s.forgive()
	}
	wait, now := s.consequence(f)
	if now {
		return
	}
	state, class := f.state()
	s.changed(state, class, f.Error())
	if s.pause(ctx, wait) {
		s.sends.allow()
		s.forgive()
		s.changed(bridge.Connecting, 0, "resumed")
	}
}

// forgive forgets what failed earlier.
func (s *Session) forgive() {
	s.retry.reset()
	s.slow.reset()
	s.refreshed = false
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
		return s.slow.wait(s.env.UnauthorizedMin, s.env.UnauthorizedMax), false
	case causeNoSession:
		return s.slow.wait(s.env.UnauthorizedMin, s.env.UnauthorizedMax), false
	default:
		return max(s.retry.spread(s.env.BackoffMin, s.env.BackoffMax), f.wait+jitter(f.wait/10)), false
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
	resumed := make(chan struct{}, 1)
	s.paused.Store(&resumed)
	defer s.paused.Store(nil)
	if s.resume.Swap(false) {
		return true // it came before
	}
	select {
	case <-ctx.Done():
	case <-after:
	case <-resumed:
		return s.resume.Swap(false)
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

// connection makes one connection, when it is this session's turn.
//
// What waits for long, here and below, keeps its frame small: the stacks of
// sessions that wait for their platform are most of what these cost.
func (s *Session) connection(ctx context.Context) (*link, *fault) {
	arrived, err := s.turn(ctx)
	if err != nil {
		return nil, lost("waiting to connect", err)
	}
	defer arrived()
	return s.establishApart(ctx)
}

// establishApart connects in a goroutine of its own, which takes the stack that
// a token and a handshake need with it: the one of seek stays small.
func (s *Session) establishApart(ctx context.Context) (l *link, f *fault) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l, f = s.establish(ctx)
	}()
	<-done
	return l, f
}
