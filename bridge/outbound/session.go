package outbound

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"wabridge/bridge"
)

// Session is the outbound half of one session. It is safe for concurrent use.
type Session struct {
	cfg      Config
	life     life
	platform atomic.Pointer[bridge.Session]
	ledger   *ledger
	workers  sync.WaitGroup

	heard atomic.Int64 // when the platform last answered, in Unix nanoseconds

	mu       sync.Mutex
	active   bool // Sweep may find something to do, until it finds the session idle
	closed   bool
	finished bool
	pumping  bool
	again    bool                // something changed while pumping
	settle   *settlement         // nil: nothing was ever decided
	commands map[uint64]*command // in hand: delivered or read, and not settled
	bytes    int
	least    int // commands that may be held at any window
	window   int // as the platform last said
	lanes    map[string]*lane
	free     []*lane
	ready    laneList
	parked   []*lane
	inflight int
	noting   int // answers that are being written down
	hold     hold
	pace     *rate.Limiter
	timer    *time.Timer
	due      time.Time // of the timer; zero: not set
	memory   memory
	floor    uint64
	back     backlog
	cursor   turn          // held by whoever writes it
	roomy    chan struct{} // closed when there is room; nil: nobody waits
	landed   chan struct{} // closed when nothing is in flight; nil: nobody waits
}

// hold keeps a whole session from sending.
type hold struct {
	until   time.Time
	refused bool // for its token or permission: a Wake ends it
	times   int  // in a row, for backoff
}

// New checks the configuration, reports every fault of it at once, and returns
// a session that takes deliveries after Start and sends after SetPlatform.
func New(cfg Config) (*Session, error) {
	if err := cfg.prepare(); err != nil {
		return nil, fmt.Errorf("outbound session: %w", err)
	}
	s := &Session{
		cfg:   cfg,
		least: leastHeld,
		pace:  newLimiter(cfg.Limits.SessionRate, cfg.Limits.SessionBurst),
	}
	if cfg.Ledger != nil {
		s.ledger = &ledger{kv: cfg.Ledger, session: cfg.Session, process: rand.Text(), doubt: cfg.Doubt}
	}
	for _, sequence := range cfg.Settled {
		s.memory.add(sequence)
	}
	s.cfg.Settled = nil
	return s, nil
}

// Start takes over the session's entry in wa_backlog, as it stands; the zero
// Entry where it has none. It comes before the first Deliver, does not block, and
// fails where the entry cannot be read.
func (s *Session) Start(cursor bridge.Entry) error {
	if err := s.takeCursor(cursor); err != nil {
		return fmt.Errorf("reading the backlog cursor of %s: %w", s.cfg.Session, err)
	}
	s.cfg.Metrics.join(s)
	return nil
}

// SetPlatform gives the session what it sends through. It is called once,
// before the first Deliver, and fails where the platform needs a ledger and
// there is none.
func (s *Session) SetPlatform(p bridge.Session) error {
	switch {
	case p.Idempotent():
		s.ledger = nil
	case s.ledger == nil:
		return errors.New("outbound session: the platform is not idempotent and there is no ledger")
	}
	s.platform.Store(&p)
	s.Wake()
	return nil
}

// Deliver takes one command. It is called in the order of WA_SEND by one
// goroutine at a time, and blocks only as long as Patience allows.
func (s *Session) Deliver(d *bridge.Delivery) {
	window := s.allowed()
	s.mu.Lock()
	s.window = window
	if s.closed {
		s.mu.Unlock()
		return
	}
	if again, known := s.recognize(d); known {
		s.mu.Unlock()
		acknowledge(again)
		return
	}
	if !s.back.on && s.full() && !s.waitForRoom() {
		s.enterBacklog(d.Sequence, isFull)
	}
	if s.back.on && d.Sequence >= s.back.next {
		again := s.leaveUnread(d)
		s.mu.Unlock()
		acknowledge(again)
		return
	}
	s.mu.Unlock()

	c := s.read(d, time.Now())
	s.cfg.Metrics.delivered(d)
	window = s.allowed()
	s.mu.Lock()
	s.admit(c)
	s.pump(window, pumpBudget)
}

// Wake says that the platform may send again. It does not block.
func (s *Session) Wake() {
	window := s.allowed()
	s.mu.Lock()
	s.window = window
	if s.hold.refused {
		s.hold = hold{}
	}
	if window > 0 && s.back.on {
		s.keep()
	}
	s.pump(window, pumpBudget)
}

// Prune says that JetStream will not deliver anything at or below floor again:
// the ack floor of the shard's consumer. The owner calls it once before the
// session receives statuses, and every now and then afterwards.
func (s *Session) Prune(floor uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = max(s.floor, floor)
	if s.back.held != 0 {
		// A backlog is read from its cursor, whatever is acked.
		floor = min(floor, s.back.held-1)
	}
	s.memory.prune(floor)
}

// Settled lists the sequences that are settled and may come again: what the
// next owner is to be told.
func (s *Session) Settled() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	floor := s.floor
	if s.back.held != 0 {
		floor = min(floor, s.back.held-1)
	}
	return s.memory.above(floor)
}

// Close stops sending, waits until what the platform has is answered and
// settled, and returns; at the latest when ctx ends. What is left stays unacked
// and comes again. The platform must still run. A second Close does nothing.
func (s *Session) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var landed chan struct{}
	if s.inflight+s.noting > 0 {
		landed = make(chan struct{})
		s.landed = landed
	}
	s.mu.Unlock()

	var err error
	if landed != nil {
		select {
		case <-landed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err == nil {
		err = s.settling().rest(ctx)
	}
	if err == nil {
		err = s.lastCursor(ctx)
	}
	s.mu.Lock()
	s.finished = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.life.end()
	s.workers.Wait()
	s.settling().wait()
	s.cfg.Metrics.leave(s)
	if err != nil {
		return fmt.Errorf("closing outbound session %s: %w", s.cfg.Session, err)
	}
	return nil
}

// spawn runs f in the background, unless the session has ended. It is called
// with mu held.
func (s *Session) spawn(f func()) {
	if !s.finished {
		s.workers.Go(f)
	}
}

func (s *Session) may() bool { return s.cfg.May == nil || s.cfg.May() }

// allowed is the platform's window, or 0 while this process may not send. It is
// called without mu: the platform has locks of its own.
func (s *Session) allowed() int {
	p := s.platform.Load()
	if p == nil || !s.may() {
		return 0
	}
	return (*p).Window()
}

// acknowledge acks what is settled already or is read again by sequence. An ack
// that is not heard is asked for again by JetStream.
func acknowledge(settler bridge.Settler) {
	if settler != nil {
		_ = settler.Ack() // unheard: it comes again and is acked then
	}
}
