package outbound

import (
	"context"
	"errors"
	"sync"

	"wabridge/bridge"
	"wabridge/codec"
)

// settlement brings decided commands to their end: the outcome is stored, then
// what follows from the outcome that stands, then the delivery is settled. It
// runs goroutines only while there is something to do.
type settlement struct {
	cfg  *Config
	life *life
	// status is the subject of the session's outcomes, source who says them.
	status, source string
	// forget takes a command off its session's books as settled and returns
	// what JetStream must still hear, or nil.
	forget func(c *command) bridge.Settler
	// turn is held by whoever takes the queue and stores it, so that one who
	// holds it knows that all before it is in the store's order.
	turn turn

	mu      sync.Mutex
	queue   []*command
	spare   []*command
	writing bool
	doubles []*command // JetStream holds another outcome
	looking bool
	open    int // not settled yet
	idle    chan struct{}
	workers sync.WaitGroup
}

func newSettlement(cfg *Config, l *life, forget func(*command) bridge.Settler) *settlement {
	return &settlement{
		cfg: cfg, life: l, forget: forget,
		status: cfg.Names.Status(cfg.Session), source: "/wabridge/" + cfg.Session,
	}
}

// add takes a decided command. It does not block.
func (t *settlement) add(c *command) {
	t.mu.Lock()
	t.open++
	t.enqueue(c)
	t.mu.Unlock()
}

// enqueue is called with mu held.
func (t *settlement) enqueue(c *command) {
	t.queue = append(t.queue, c)
	t.startWriting()
}

// startWriting is called with mu held.
func (t *settlement) startWriting() {
	if !t.writing && t.life.Err() == nil {
		t.writing = true
		t.workers.Go(t.write)
	}
}

func (t *settlement) write() {
	for {
		if err := t.flush(t.life); err != nil {
			return
		}
		t.mu.Lock()
		if len(t.queue) == 0 {
			t.writing = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
	}
}

// flush returns once everything that was added before is in the store's order,
// or with the error that kept it out.
func (t *settlement) flush(ctx context.Context) error {
	if err := t.turn.take(ctx, t.life); err != nil {
		return err
	}
	defer t.turn.leave()

	t.mu.Lock()
	batch := t.queue
	t.queue, t.spare = t.spare[:0], nil
	t.mu.Unlock()
	for i, c := range batch {
		if err := t.store(ctx, c); err != nil {
			t.mu.Lock()
			t.queue = append(batch[i:], t.queue...)
			t.startWriting() // who gave up may have been the only one at work
			t.mu.Unlock()
			return err
		}
	}
	clear(batch)
	t.mu.Lock()
	t.spare = batch[:0]
	t.mu.Unlock()
	return nil
}

func (t *settlement) store(ctx context.Context, c *command) error {
	var record *bridge.Record
	if c.outcome.dead {
		record = deadRecord(t.cfg.Names, c)
	} else {
		record = t.outcomeRecord(c)
	}
	record.Done = func(st bridge.Stored) { //nolint:contextcheck // it outlives this call
		codec.ReturnHeader(record.Header)
		t.stored(c, st)
	}
	if err := t.cfg.Store.Put(ctx, record); err != nil {
		return err
	}
	c.put.Store(true)
	return nil
}

// stored hears JetStream's answer.
func (t *settlement) stored(c *command, st bridge.Stored) {
	switch {
	case errors.Is(st.Err, bridge.ErrTooLarge) && c.outcome.dead && !c.outcome.cut:
		t.mu.Lock()
		c.outcome.cut = true
		t.enqueue(c)
		t.mu.Unlock()
	case st.Err != nil:
		// It stays unsettled and comes again.
		if !errors.Is(st.Err, bridge.ErrClosed) {
			t.cfg.Logger.Error("command cannot be settled", "session", c.session, "sequence", c.sequence, "error", st.Err)
		}
		t.closeOne()
	case c.outcome.dead:
		t.end(c)
	case st.Duplicate:
		t.mu.Lock()
		c.outcome.standing = st.Sequence
		t.doubles = append(t.doubles, c)
		if !t.looking {
			t.looking = true
			t.workers.Go(t.look)
		}
		t.mu.Unlock()
	default:
		t.follow(c)
	}
}

// look reads the outcomes that stood before ours: they decide what follows.
func (t *settlement) look() {
	for {
		t.mu.Lock()
		batch := t.doubles
		t.doubles = nil
		if len(batch) == 0 || t.life.Err() != nil {
			t.looking = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		for _, c := range batch {
			var standing codec.Report
			err := persist(t.life, func() (err error) {
				standing, err = t.cfg.Outcomes.Outcome(t.life, c.outcome.standing)
				return err
			}, isNotFound)
			switch {
			case isNotFound(err):
				t.cfg.Logger.Warn("standing outcome is gone", "session", c.session, "sequence", c.sequence)
			case err != nil:
				t.closeOne()
				continue
			default:
				c.outcome.adopt(&standing)
			}
			t.cfg.Metrics.double()
			t.follow(c)
		}
	}
}

// adopt takes the word and the reason of the outcome that stands.
func (o *outcome) adopt(standing *codec.Report) {
	o.word, o.id, o.at = standing.Status, standing.ID, standing.At
	o.class, o.code, o.title, o.detail = codec.Accepted, 0, "", ""
	if e := standing.Error; e != nil {
		o.class, o.code, o.title, o.detail = e.Class, e.Code, e.Title, e.Detail
	}
}

// follow does what the stored outcome asks for.
func (t *settlement) follow(c *command) {
	if c.outcome.word == codec.StatusAccepted {
		t.end(c)
		return
	}
	t.mu.Lock()
	c.outcome.dead = true
	t.enqueue(c)
	t.mu.Unlock()
}

// end settles the delivery.
func (t *settlement) end(c *command) {
	settler := t.forget(c)
	if settler != nil {
		var err error
		if c.outcome.word == codec.StatusAccepted {
			err = settler.Ack()
		} else {
			err = settler.TermWithReason(c.outcome.verdict())
		}
		if err != nil {
			// It comes again, is remembered, and is acked then.
			t.cfg.Logger.Debug("settling was not heard", "session", c.session, "sequence", c.sequence, "error", err)
		}
	}
	t.cfg.Metrics.settled(c)
	endSpan(c)
	t.closeOne()
}

func (t *settlement) closeOne() {
	t.mu.Lock()
	t.open--
	if t.open == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
	t.mu.Unlock()
}

// rest returns once everything added is settled, or ctx ends. A nil settlement
// has nothing to settle.
func (t *settlement) rest(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	if t.open == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait returns once the life of a settlement, which may be nil, has ended and
// nothing of it runs any more.
func (t *settlement) wait() {
	if t != nil {
		t.workers.Wait()
	}
}

func isNotFound(err error) bool { return errors.Is(err, bridge.ErrNotFound) }
