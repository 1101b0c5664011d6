package outbound

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"wabridge/bridge"
)

// life is the context of work in the background, until end. It is part of what
// lives, and most that live are idle: it holds a channel once somebody waits for
// its end.
type life struct {
	over atomic.Bool

	mu   sync.Mutex
	done chan struct{} // nil: nobody waits
}

func (l *life) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l *life) Value(any) any               { return nil }

func (l *life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.over.Load() {
			close(l.done)
		}
	}
	return l.done
}

func (l *life) Err() error {
	if l.over.Load() {
		return context.Canceled
	}
	return nil
}

// end is called once.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over.Store(true)
	if l.done != nil {
		close(l.done)
	}
}

// turn is held by one at a time. Unlike that for a mutex, the wait for it ends
// with a context.
type turn struct {
	mu   sync.Mutex
	held chan struct{} // nil: nobody ever took it
}

// take waits for the turn, which is the caller's until leave, while ctx and l
// live.
func (t *turn) take(ctx context.Context, l *life) error {
	t.mu.Lock()
	if t.held == nil {
		t.held = make(chan struct{}, 1)
	}
	t.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case l.Err() != nil:
		return bridge.ErrClosed
	}
	select {
	case t.held <- struct{}{}: // mostly; it needs no channel of l's
		return nil
	default:
	}
	select {
	case t.held <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.Done():
		return bridge.ErrClosed
	}
}

func (t *turn) leave() { <-t.held }

// pause waits, and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// persist calls f until it succeeds, ctx ends, or final says that its error
// will not go away; waits grow from 50 ms to 2 s.
func persist(ctx context.Context, f func() error, final func(error) bool) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := f()
		if err == nil || final != nil && final(err) {
			return err
		}
		if !pause(ctx, wait) {
			return err
		}
	}
}
