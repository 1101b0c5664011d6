package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/inbound"
)

// beginning is where a session goes on: what is settled of its commands though
// WA_SEND may deliver it again, what is stored of its events, and its entry in
// the bucket of backlogs.
type beginning struct {
	settled []uint64
	stored  inbound.Position
	cursor  bridge.Entry
}

// recall reads where the sessions of shards that begin go on. Those that begin at
// about the same time share one pass over WA_RECV and the bucket of backlogs.
type recall struct {
	broker         *broker.Broker
	state, backlog bridge.KV
	log            *slog.Logger
	turn           chan struct{} // held by whoever reads

	mu   sync.Mutex
	next *recollection // what begins when the turn is free; nil: nobody waits
}

// recollection is one pass, for some shards.
type recollection struct {
	found map[int]*past
	err   error
	over  chan struct{} // closed when found, or err, is there
}

// past is what there is of a shard's sessions, whether they are defined or not.
type past struct {
	positions
	cursors map[string]bridge.Entry
}

// gather is how long a pass waits for other shards: those of a replica that died
// are claimed within that time.
const gather = 5 * time.Millisecond

// of returns what there is of a shard's sessions now. The caller owns the shard:
// nobody else adds to it. It blocks until JetStream has answered or ctx ends.
func (r *recall) of(ctx context.Context, shard int) (past, error) {
	r.mu.Lock()
	pass := r.next
	first := pass == nil
	if first {
		pass = &recollection{found: make(map[int]*past), over: make(chan struct{})}
		r.next = pass
	}
	pass.found[shard] = nil
	r.mu.Unlock()
	if first {
		pass.err = r.lead(ctx, pass)
		close(pass.over)
	}
	select {
	case <-pass.over:
	case <-ctx.Done():
		return past{}, ctx.Err()
	}
	if pass.err != nil {
		return past{}, pass.err
	}
	return *pass.found[shard], nil
}

// lead makes a pass when it is its turn. Where ctx ends, the others of the pass
// hear so too, and ask again.
func (r *recall) lead(ctx context.Context, pass *recollection) error {
	<-time.After(gather)
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
	}
	r.mu.Lock()
	r.next = nil // who comes from here on needs another pass
	r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.read(ctx, pass.found)
}

// read makes one pass.
func (r *recall) read(ctx context.Context, found map[int]*past) error {
	var reads errgroup.Group
	var cursors []bridge.Entry
	reads.Go(func() (err error) { cursors, err = r.backlog.All(ctx); return err })
	for shard := range found {
		p := &past{cursors: make(map[string]bridge.Entry)}
		found[shard] = p
		reads.Go(func() (err error) { p.positions, err = r.readPositions(ctx, shard); return err })
	}
	if err := reads.Wait(); err != nil {
		return err
	}
	from := uint64(math.MaxUint64)
	for _, p := range found {
		from = min(from, p.Recv)
	}
	for _, e := range cursors {
		if p := found[bridge.Shard(e.Key, r.broker.Shards())]; p != nil {
			p.cursors[e.Key] = e
		}
	}
	return r.broker.ScanRecv(ctx, from+1, func(session string, header map[string][]string) error {
		p := found[bridge.Shard(session, r.broker.Shards())]
		if p == nil {
			return nil
		}
		at := p.Sessions[session]
		at.Found(header)
		if at.Epoch != "" {
			p.Sessions[session] = at
		}
		return nil
	})
}

// readPositions reads them. Some that cannot be read are as good as none: then
// all of WA_RECV is read.
func (r *recall) readPositions(ctx context.Context, shard int) (positions, error) {
	var p positions
	e, err := r.state.Get(ctx, positionsKey(shard))
	if err != nil && !errors.Is(err, bridge.ErrNotFound) {
		return p, fmt.Errorf("reading the positions of shard %d: %w", shard, err)
	}
	if err == nil {
		if err := json.Unmarshal(e.Value, &p); err != nil {
			r.log.Warn("the positions of a shard cannot be read; reading all that is stored", "shard", shard, "error", err)
			p = positions{}
		}
	}
	if p.Sessions == nil {
		p.Sessions = make(map[string]inbound.Position)
	}
	return p, nil
}

// cursor reads one session's entry in the bucket of backlogs.
func (r *recall) cursor(ctx context.Context, session string) (bridge.Entry, error) {
	e, err := r.backlog.Get(ctx, session)
	if err != nil && !errors.Is(err, bridge.ErrNotFound) {
		return e, fmt.Errorf("reading the backlog cursor of %s: %w", session, err)
	}
	return e, nil
}
