package cloudapi

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

const (
	// A token is inspected once a day: Meta does not say when one ends.
	checkEvery = 23 * time.Hour
	checkSpan  = time.Hour // of jitter on it
	// checkAgain is how soon a check is repeated that could not be made, or not
	// to its end.
	checkAgain = 5 * time.Minute

	refusedLeast = 30 * time.Second
	refusedMost  = 5 * time.Minute
	// lookEvery is how often a source whose token was refused is asked whether it
	// has another: a file that an operator replaces. Graph is not asked.
	lookEvery    = time.Second
	networkLeast = 250 * time.Millisecond
	networkMost  = 30 * time.Second
)

// loss is why a session stopped sending.
type loss struct {
	class  codec.Class
	reason string
	token  string // that was refused
}

// backoff grows from least to most.
type backoff struct {
	least, most time.Duration
	last, next  time.Duration
}

// wait returns how long to wait this time.
func (b *backoff) wait() time.Duration {
	b.last = max(b.next, b.least)
	b.next = min(2*b.last, b.most)
	return b.last
}

// jittered is wait with full jitter.
func (b *backoff) jittered() time.Duration { return rand.N(b.wait()) + time.Millisecond }

func (b *backoff) reset() { b.next = 0 }

// undo takes a wait back that was cut short: the next one is as long.
func (b *backoff) undo() { b.next = b.last }

// waits are how long a session stays away after what.
type waits struct{ refused, network backoff }

// reason is why a wait ended.
type reason uint8

const (
	waited  reason = iota // it is over, or ctx is
	asked                 // someone wants a check now
	renewed               // the source has another token
	hadLoss               // a send was refused, or Graph seems to be away
)

// Start implements bridge.Session.
func (s *Session) Start(ended func()) (stop func()) {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer ended()
		s.run(ctx)
	}()
	return stop
}

// run is the session's life, until ctx ends.
func (s *Session) run(ctx context.Context) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer s.change(verdict{state: bridge.Stopped})
	var workers sync.WaitGroup
	s.start(work, &workers)
	defer s.drain(&workers, stop)

	w := waits{
		refused: backoff{least: refusedLeast, most: refusedMost},
		network: backoff{least: networkLeast, most: networkMost},
	}
	s.change(verdict{state: bridge.Connecting})
	refused := "" // the token that Graph has just refused
	for {
		begun := time.Now()
		v := s.verify(ctx, refused)
		if ctx.Err() != nil {
			return
		}
		l, why := s.await(ctx, s.enter(v, &w, begun))
		refused = ""
		switch {
		case why == hadLoss:
			refused = s.leave(ctx, l)
		case why == renewed:
			w.refused.reset()
		case why == asked && s.last.state == bridge.Unauthorized:
			w.refused.undo()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// enter takes the session into the state that a check came to, and returns how
// long to stay there unless something happens; 0 is until something does. A
// check that took long leaves that much less to wait.
func (s *Session) enter(v verdict, w *waits, begun time.Time) time.Duration {
	switch {
	case v.state == bridge.Connected:
		w.network.reset()
		s.connected(v)
		if s.partly {
			return checkAgain
		}
		return checkEvery + rand.N(checkSpan)
	case v.state == bridge.Disconnected && s.open.Load():
		// The check failed and sends go on: they find out by themselves.
		s.log.Warn("the token could not be inspected", "reason", v.reason)
		return checkAgain
	}
	s.open.Store(false)
	s.change(v)
	switch v.state {
	case bridge.Unauthorized:
		if s.proven.Swap(false) {
			w.refused.reset()
		}
		return w.refused.wait()
	case bridge.Disconnected:
		return max(w.network.jittered()-time.Since(begun), time.Millisecond)
	default:
		return 0
	}
}

// leave is what follows when a send was refused or could not leave. It returns
// the token that was refused, if that is why.
func (s *Session) leave(ctx context.Context, l loss) string {
	s.open.Store(false)
	switch l.class {
	case codec.Unauthorized:
		return s.refusedBy(ctx, l)
	case codec.Denied:
		s.forbidden(ctx, l)
	default:
		s.change(verdict{state: bridge.Disconnected, class: l.class, reason: l.reason})
	}
	return ""
}

// refusedBy returns the token that a loss is about, and has the source drop it.
func (s *Session) refusedBy(ctx context.Context, l loss) string {
	refused := l.token
	if refused == "" {
		token, err := s.graph.token.Token(ctx)
		if err != nil {
			return "" // verify meets the same error
		}
		refused = token.AccessToken
	}
	s.graph.token.Invalidate(refused)
	return refused
}

// await waits for a loss, which it returns, or for a reason to verify again:
// the wait's end, Resume, Recheck, another token where the last one is refused.
func (s *Session) await(ctx context.Context, wait time.Duration) (loss, reason) {
	var end, look <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		end = timer.C
	}
	if s.stale != "" {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return loss{}, waited
		case <-end:
			return loss{}, waited
		case <-s.resumed:
			return loss{}, asked
		case <-s.recheck:
			return loss{}, asked
		case l := <-s.losses:
			return l, hadLoss
		case <-look:
			token, err := s.graph.token.Token(ctx)
			if err == nil && token.AccessToken != s.stale {
				return loss{}, renewed
			}
		}
	}
}

// forbidden says so and waits until someone resumes the session, or ctx ends.
func (s *Session) forbidden(ctx context.Context, l loss) {
	// A resume of before is not an answer to this.
	select {
	case <-s.resumed:
	default:
	}
	s.change(verdict{state: bridge.Forbidden, class: l.class, reason: l.reason})
	select {
	case <-ctx.Done():
	case <-s.resumed:
	}
}

// connected opens the session for sends.
func (s *Session) connected(v verdict) {
	s.failures.Store(0)
	// A loss of before the check is answered by the check.
	select {
	case <-s.losses:
	default:
	}
	s.open.Store(true)
	s.change(v)
	s.host.Wake()
}

// change reports a state that differs from the last. Only run calls it.
func (s *Session) change(v verdict) {
	if v == s.last {
		return
	}
	s.last = v
	s.host.Changed(bridge.Change{State: v.state, Reason: v.reason, Class: v.class, At: time.Now()})
}
