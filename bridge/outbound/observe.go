package outbound

import (
	"context"
	"fmt"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// Observe is called before a status that carries a callback of ours is stored.
// It returns once the outcome of the status's command is in the store's order:
// where none is known, the status shows that the platform accepted it. It
// blocks while storing is behind; an error means that ctx or the session ended.
func (s *Session) Observe(ctx context.Context, st *codec.Status, cb codec.Callback) error {
	s.mu.Lock()
	c := s.commands[cb.Sequence]
	switch {
	case c != nil && c.ref != cb.Ref: // of another life of the stream
		s.mu.Unlock()
		return nil
	case c != nil && c.state == isDecided:
		s.mu.Unlock()
		if c.put.Load() {
			return nil
		}
		return s.settling().flush(ctx)
	case c != nil:
		s.mu.Unlock()
		return s.observed(ctx, c, st)
	case s.isSettled(cb.Sequence):
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	c, err := s.recall(ctx, cb)
	if c == nil || err != nil {
		return err
	}
	return s.observed(ctx, c, st)
}

// Follow tells a session that takes no commands and only observes, beside the
// one that does, what is settled: what the shard's consumer has acked, up to
// floor, but for what the session's backlog still has to read. It blocks until
// JetStream answers or ctx ends.
func (s *Session) Follow(ctx context.Context, floor uint64) error {
	// The cursor is written before what it covers is acked: who knew the floor
	// first sees it.
	entry, err := s.cfg.Cursors.Get(ctx, s.cfg.Session)
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("reading the backlog cursor of %s: %w", s.cfg.Session, err)
	}
	cursor, _, err := ParseCursor(entry.Value)
	if err != nil {
		return err
	}
	if cursor != 0 {
		floor = min(floor, cursor-1)
	}
	s.Prune(floor)
	return nil
}

// observed decides a command that a status shows to be accepted.
func (s *Session) observed(ctx context.Context, c *command, st *codec.Status) error {
	if s.ledger != nil && !c.Verb {
		n := note{State: noteAccepted, Sequence: c.sequence, ID: st.ID}
		if err := s.ledger.end(ctx, c.ref, n, 0); err != nil {
			s.release(c)
			return fmt.Errorf("noting a send that a status shows: %w", err)
		}
	}
	window := s.allowed()
	s.mu.Lock()
	if c.state != isDecided {
		o := outcome{word: codec.StatusAccepted, class: codec.Accepted, id: st.ID}
		if c.state == isFlying {
			// Its lane waits for the platform's own answer.
			o.at = time.Now()
			c.state, c.outcome = isDecided, o
			s.end(c)
		} else {
			s.decide(c, o, time.Now())
		}
	}
	s.pump(window, pumpBudget) //nolint:contextcheck // what it sends outlives this call
	return s.settling().flush(ctx)
}

// isSettled reports whether a sequence's outcome is known to be stored.
func (s *Session) isSettled(sequence uint64) bool {
	if s.memory.has(sequence) || s.back.hasRead(sequence) {
		return true
	}
	return sequence <= s.floor && (s.back.held == 0 || sequence < s.back.held)
}

// recall takes a command in hand that a status names and that has not come to
// this process: nil where WA_SEND holds no such command.
func (s *Session) recall(ctx context.Context, cb codec.Callback) (*command, error) {
	var found []*bridge.Delivery
	err := persist(ctx, func() (err error) {
		found, err = s.readSend(ctx, cb.Sequence, 1)
		return err
	}, func(error) bool { return s.life.Err() != nil })
	if err != nil {
		return nil, fmt.Errorf("reading the command of a status: %w", err)
	}
	if len(found) == 0 || found[0].Sequence != cb.Sequence {
		return nil, nil //nolint:nilnil // there is no such command, and that is no failure
	}
	found[0].Settler = nil // it was read, not delivered
	c := s.read(found[0], time.Now())
	if c.state == isDecided || c.ref != cb.Ref {
		return nil, nil //nolint:nilnil // somebody else's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.commands[c.sequence]; other != nil {
		return other, nil
	}
	s.book(c)
	return c, nil
}

// release takes a recalled command off the books again: it comes again. Where it
// would not, it waits in its lane for what the ledger says of it.
func (s *Session) release(c *command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.lane != nil || c.state != isWaiting:
	case c.passed:
		c.foreign = true
		s.enterLane(c)
	default:
		delete(s.commands, c.sequence)
		s.bytes -= len(c.body)
	}
}
