package outbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// OrphansConfig is what Orphans needs.
type OrphansConfig struct {
	Names bridge.Names
	// Created is when WA_SEND was created.
	Created  time.Time
	Store    bridge.Store
	Outcomes Outcomes
	// May says whether this process may act for the session now; nil means
	// always.
	May func(session string) bool
	// Wait is how long a command waits for its session's definition; 30 s.
	Wait time.Duration
	// Progress is how often a held command is kept from coming again; 10 s.
	Progress time.Duration
	Logger   *slog.Logger
	Metrics  *Metrics
}

// Orphans holds the commands of sessions that nobody defined. Definitions roll
// out, so they wait a while; then they are rejected. It holds no more for one
// session than a Session does: beyond that, the first ones wait no longer. It is
// safe for concurrent use.
type Orphans struct {
	cfg    OrphansConfig
	life   life
	settle *settlement

	mu      sync.Mutex
	waiting map[string]*waiting
	ending  map[uint64]*command
	memory  memory
	floor   uint64
	closed  bool
}

// waiting is what is held for one session, in order.
type waiting struct {
	orphans []orphan
	bytes   int
}

type orphan struct {
	*bridge.Delivery
	since, heard time.Time
}

// NewOrphans checks the configuration and returns Orphans that hold nothing.
func NewOrphans(cfg OrphansConfig) (*Orphans, error) {
	if cfg.Names.Prefix() == "" || cfg.Store == nil || cfg.Outcomes == nil {
		return nil, errors.New("orphans: names, store and outcomes are required")
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 30 * time.Second
	}
	env := &Env{Names: cfg.Names, Outcomes: cfg.Outcomes, Progress: cfg.Progress, Logger: cfg.Logger, Metrics: cfg.Metrics}
	env.setDefaults()
	cfg.Progress = env.Progress
	o := &Orphans{
		cfg:     cfg,
		waiting: make(map[string]*waiting),
		ending:  make(map[uint64]*command),
	}
	o.settle = newSettlement(&Config{Env: env, Store: cfg.Store}, &o.life, o.forget)
	return o, nil
}

// Deliver takes a command of a session that is not defined. It does not block.
func (o *Orphans) Deliver(d *bridge.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if o.memory.has(d.Sequence) {
		acknowledge(d.Settler)
		return
	}
	if c := o.ending[d.Sequence]; c != nil {
		c.settler = d.Settler
		return
	}
	now := time.Now()
	w := o.waiting[d.Session]
	if w == nil {
		w = &waiting{}
		o.waiting[d.Session] = w
	}
	for i := range w.orphans {
		if w.orphans[i].Sequence == d.Sequence {
			w.orphans[i].Settler, w.orphans[i].heard = d.Settler, now
			return
		}
	}
	w.orphans = append(w.orphans, orphan{Delivery: d, since: now, heard: now})
	w.bytes += len(d.Body)
	if len(w.orphans) > leastHeld || w.bytes > heldBytes {
		o.reject(w, 1, now)
	}
}

// Claim gives up what is held for a session that is defined now, in order: to
// be delivered to it before anything else.
func (o *Orphans) Claim(session string) []*bridge.Delivery {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.waiting[session]
	if w == nil {
		return nil
	}
	delete(o.waiting, session)
	claimed := make([]*bridge.Delivery, len(w.orphans))
	for i := range w.orphans {
		claimed[i] = w.orphans[i].Delivery
	}
	return claimed
}

// Hold reports whether a command is held that is not settled.
func (o *Orphans) Hold() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting)+len(o.ending) > 0
}

// Prune says that JetStream will not deliver anything at or below floor again.
func (o *Orphans) Prune(floor uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.floor = max(o.floor, floor)
	o.memory.prune(floor)
}

// Settled lists the sequences that are settled and may come again: a session
// that is defined by then must not send them.
func (o *Orphans) Settled() []uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.memory.above(o.floor)
}

// Sweep rejects what has waited long enough and keeps the rest from coming
// again. It is called about every second and does not block.
func (o *Orphans) Sweep(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	for session, w := range o.waiting {
		if o.cfg.May != nil && !o.cfg.May(session) {
			continue
		}
		late := 0
		for late < len(w.orphans) && now.Sub(w.orphans[late].since) >= o.cfg.Wait {
			late++
		}
		o.reject(w, late, now)
		if len(w.orphans) == 0 {
			delete(o.waiting, session)
		}
		for i := range w.orphans {
			if e := &w.orphans[i]; now.Sub(e.heard) >= o.cfg.Progress {
				e.heard = now
				_ = e.Settler.InProgress() // unheard: it comes again and is recognized
			}
		}
	}
}

// reject ends the first n commands. It is called with mu held.
func (o *Orphans) reject(w *waiting, n int, now time.Time) {
	for _, e := range w.orphans[:n] {
		c := newCommand(e.Delivery, now)
		if err := c.decode(o.cfg.Names.SendStream(), o.cfg.Created); err != nil {
			c.refuse(err, now)
		} else {
			c.state = isDecided
			c.outcome = outcome{
				word: codec.StatusRejected, class: codec.Permanent, title: "unknown session",
				detail: "no session of this name is defined", at: now,
			}
		}
		c.parent = parent{c.TraceParent, c.TraceState}
		w.bytes -= len(c.body)
		o.ending[c.sequence] = c
		o.settle.add(c)
	}
	clear(w.orphans[:n])
	w.orphans = w.orphans[n:]
}

func (o *Orphans) forget(c *command) bridge.Settler {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ending, c.sequence)
	o.memory.add(c.sequence)
	return c.settler
}

// Close stores what was rejected, until ctx ends. What waits stays unacked. A
// second Close does nothing.
func (o *Orphans) Close(ctx context.Context) error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil
	}
	o.closed = true
	o.mu.Unlock()
	err := o.settle.rest(ctx)
	o.life.end()
	o.settle.wait()
	if err != nil {
		return fmt.Errorf("closing orphans: %w", err)
	}
	return nil
}
