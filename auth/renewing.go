package auth

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// fetchTimeout bounds one fetch: the request, and the wait for another replica
// that has claimed the refresh token.
const fetchTimeout = 90 * time.Second

// renewing is a Source that fetches a token, keeps it, and fetches the next
// one before it ends.
type renewing struct {
	fetch func(ctx context.Context) (Token, error)

	mu      sync.Mutex
	current Token  // AccessToken is empty where there is none
	flight  *fetch // in progress, or nil
}

// fetch is one fetch in progress. Its result may be read once done is closed.
type fetch struct {
	done  chan struct{}
	token Token
	err   error
}

func newRenewing(f func(ctx context.Context) (Token, error)) *renewing {
	return &renewing{fetch: f}
}

// Token implements Source.
func (r *renewing) Token(ctx context.Context) (Token, error) {
	r.mu.Lock()
	now := time.Now()
	if r.current.AccessToken != "" && (r.current.renewAt.IsZero() || now.Before(r.current.renewAt)) {
		defer r.mu.Unlock()
		return r.current, nil
	}
	if r.flight == nil {
		r.flight = &fetch{done: make(chan struct{})}
		// The fetch serves everyone who waits, so it outlives the one who asked.
		go r.run(context.WithoutCancel(ctx), r.flight)
	}
	f := r.flight
	r.mu.Unlock()

	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return Token{}, fmt.Errorf("waiting for a token: %w", ctx.Err())
	}
}

// run carries out f.
func (r *renewing) run(ctx context.Context, f *fetch) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	token, err := r.fetch(ctx)

	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		r.current = token
	case r.current.AccessToken != "" && now.Before(r.current.Expiry):
		// An early renewal failed and the token still holds: try again when a
		// third of what is left has passed.
		r.current.renewAt = now.Add(r.current.Expiry.Sub(now)/3 + time.Millisecond)
		token, err = r.current, nil
	default:
		r.current = Token{}
	}
	f.token, f.err = token, err
	r.flight = nil
	close(f.done)
}

// Invalidate implements Source.
func (r *renewing) Invalidate(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current.AccessToken == token {
		r.current = Token{}
	}
}
