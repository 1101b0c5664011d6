package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"strconv"
	"sync"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/inbound"
)

// positions say which events of a shard's sessions are stored: those that
// Sessions names, and what stands in WA_RECV behind Recv. KV wa_state keeps them
// for whoever has the shard next.
type positions struct {
	Recv     uint64                      `json:"recv"`
	Sessions map[string]inbound.Position `json:"sessions"`
}

func positionsKey(shard int) string { return "positions." + strconv.Itoa(shard) }

// readPositions reads them. Some that cannot be read are as good as none: then
// all of WA_RECV is read.
func (r *recall) readPositions(ctx context.Context, shard int) (positions, error) {
	var p positions
	e, err := r.kv.Get(ctx, positionsKey(shard))
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

// recall reads what is stored of the sessions of shards that begin. Those that
// begin at about the same time share one pass over WA_RECV.
type recall struct {
	kv     bridge.KV
	broker *broker.Broker
	log    *slog.Logger
	turn   chan struct{} // held by whoever reads

	mu   sync.Mutex
	next *recollection // what begins when the turn is free; nil: nobody waits
}

// recollection is one pass, for some shards.
type recollection struct {
	found map[int]*positions
	err   error
	over  chan struct{} // closed when found, or err, is there
}

func newRecall(b *broker.Broker, kv bridge.KV, log *slog.Logger) *recall {
	return &recall{kv: kv, broker: b, log: log, turn: make(chan struct{}, 1)}
}

// of returns which events of a shard's sessions are stored now. The caller owns
// the shard: nobody else stores more of them. It blocks until JetStream has
// answered or ctx ends.
func (r *recall) of(ctx context.Context, shard int) (positions, error) {
	r.mu.Lock()
	pass := r.next
	first := pass == nil
	if first {
		pass = &recollection{found: make(map[int]*positions), over: make(chan struct{})}
		r.next = pass
	}
	pass.found[shard] = nil
	r.mu.Unlock()
	if first {
		r.turn <- struct{}{} // each pass is bounded by the calls that it makes
		r.mu.Lock()
		r.next = nil // who comes from here on needs another pass
		r.mu.Unlock()
		pass.err = r.read(ctx, pass.found)
		<-r.turn
		close(pass.over)
	}
	select {
	case <-pass.over:
	case <-ctx.Done():
		return positions{}, ctx.Err()
	}
	if pass.err != nil {
		return positions{}, pass.err
	}
	return *pass.found[shard], nil
}

// read makes one pass.
func (r *recall) read(ctx context.Context, found map[int]*positions) error {
	from := uint64(math.MaxUint64)
	for shard := range found {
		p, err := r.readPositions(ctx, shard)
		if err != nil {
			return err
		}
		from = min(from, p.Recv)
		found[shard] = &p
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

const (
	// saveAfter is how many records of WA_RECV may stand behind what is saved:
	// whoever has the shard next reads them.
	saveAfter = 8192
	// saveEvery is in how many seconds they are saved where it is less than that.
	saveEvery = 10
	// saveWait bounds the wait for JetStream; what is not saved is saved later.
	saveWait = 2 * time.Second
)

// saved is what savePositions wrote last.
type saved struct {
	recv     uint64
	sessions []byte
}

// savePositions writes which events of the shard's sessions are stored. reached
// is a sequence that WA_RECV had reached at a moment when this replica owned the
// shard. It writes nothing where that is not at least records behind what was
// written last, or says nothing new.
func (s *shard) savePositions(ctx context.Context, reached, least uint64) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if reached < s.saved.recv+least {
		return nil
	}
	p := positions{Recv: reached}
	s.mu.Lock()
	p.Sessions = maps.Clone(s.past)
	running := s.all()
	s.mu.Unlock()
	for id, one := range running {
		at, behind := one.in.Checkpoint()
		p.Recv = min(p.Recv, behind)
		if at.Epoch != "" {
			p.Sessions[id] = at
		}
	}
	sessions, err := json.Marshal(p.Sessions)
	if err != nil { // strings and numbers
		panic(fmt.Sprintf("encoding positions: %v", err))
	}
	if bytes.Equal(sessions, s.saved.sessions) && p.Recv < s.saved.recv+saveAfter {
		return nil
	}
	value := fmt.Appendf(nil, `{"recv":%d,"sessions":%s}`, p.Recv, sessions)
	if _, err := s.host.state.Put(ctx, positionsKey(s.n), value); err != nil {
		return fmt.Errorf("saving positions: %w", err)
	}
	s.saved = saved{recv: p.Recv, sessions: sessions}
	return nil
}

// keepPositions saves them while the shard runs.
func (s *shard) keepPositions(ctx context.Context, reached, least uint64) {
	select {
	case <-s.begun:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, saveWait)
	defer cancel()
	if err := s.savePositions(ctx, reached, least); err != nil {
		s.log.Debug("saving positions", "error", err)
	}
}
