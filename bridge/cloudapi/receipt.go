package cloudapi

import (
	"context"
	"sync"

	"wabridge/bridge"
)

// receipt waits until every part of one webhook is stored. It implements
// bridge.Acker.
type receipt struct {
	mu   sync.Mutex
	open int
	err  error // the first
	done chan struct{}
}

// newReceipt returns a receipt that stays open until wait.
func newReceipt() *receipt { return &receipt{open: 1, done: make(chan struct{})} }

// give hands in to r and counts it; false means that it was not taken, and the
// receipt has failed.
func (p *receipt) give(ctx context.Context, r Receiver, in *bridge.Inbound) bool {
	p.add()
	in.Acker = p
	if err := r.Receive(ctx, in); err != nil {
		p.settle(err)
		return false
	}
	return true
}

// Stored implements bridge.Acker.
func (p *receipt) Stored(_ *bridge.Inbound, err error) { p.settle(err) }

// add counts one more part to wait for.
func (p *receipt) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open++
}

// settle ends the wait for one part.
func (p *receipt) settle(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.err == nil {
		p.err = err
	}
	if p.open--; p.open == 0 {
		close(p.done)
	}
}

// wait blocks until all is stored, or ctx ends, and returns the first error.
func (p *receipt) wait(ctx context.Context) error {
	p.settle(nil)
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
