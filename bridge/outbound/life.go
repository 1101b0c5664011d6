package outbound

import (
	"context"
	"time"
)

// life is the context of work in the background. It ends when it is closed.
type life chan struct{}

func (l life) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l life) Done() <-chan struct{}       { return l }
func (l life) Value(any) any               { return nil }

func (l life) Err() error {
	select {
	case <-l:
		return context.Canceled
	default:
		return nil
	}
}

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
