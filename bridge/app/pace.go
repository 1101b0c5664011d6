package app

import (
	"context"
	"net/url"
	"sync"

	"golang.org/x/time/rate"
)

const (
	// connectRate is how many sessions begin to connect in a second at most,
	// connectBurst of them at once: so that those which begin, or lost their
	// platform, together do not come together.
	connectRate  = 2000
	connectBurst = 100
	// connecting is how many sessions of one host are on their way at once. Where
	// a machine, JetStream or a platform is slower than connectRate, the others
	// wait, and none gives up for having waited too long. Each host has its own:
	// one that does not answer holds up no other.
	connecting = 512
)

// pace lets the sessions of a replica connect one behind the other.
type pace struct {
	limit *rate.Limiter

	mu    sync.Mutex
	turns map[string]func(context.Context) (func(), error) // by host
}

func newPace() *pace {
	return &pace{limit: rate.NewLimiter(connectRate, connectBurst), turns: make(map[string]func(context.Context) (func(), error))}
}

// turn gives what the sessions at an address wait for before they connect; see
// chatapi.Config. Those of one host share it.
func (p *pace) turn(address string) func(context.Context) (func(), error) {
	host := ""
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if turn := p.turns[host]; turn != nil {
		return turn
	}
	way := make(chan struct{}, connecting) // full of those on their way
	over := func() { <-way }
	turn := func(ctx context.Context) (func(), error) {
		select {
		case way <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := p.limit.Wait(ctx); err != nil {
			over()
			return nil, err
		}
		return over, nil
	}
	p.turns[host] = turn
	return turn
}
