package outbound

import (
	"context"
	"math"
	"time"

	"wabridge/bridge"
)

const (
	// readBatch is how many commands are read at once at most.
	readBatch = 256
	// peekBatch is how many are read to learn how old the first is.
	peekBatch = 16
)

// canRead reports whether the session can send and has room.
func (s *Session) canRead(now time.Time) bool {
	_, held := s.held(now)
	return s.window > 0 && !held && s.roomIn(1, 2)
}

// readOn reads the next commands and gives them to their lanes; where there are
// no more, the session is live again.
func (s *Session) readOn() error {
	s.mu.Lock()
	from, before := s.back.next, s.back.high
	limit := max(min(readBatch, s.limit()-len(s.commands)), 1)
	s.mu.Unlock()
	batch, err := s.readSend(&s.life, from, limit)
	if err != nil {
		return err
	}
	// What is about to be sent may have been sent, should this process end; once
	// the session is live, that is whatever is delivered.
	touched := uint64(math.MaxUint64)
	if len(batch) > 0 {
		touched = batch[len(batch)-1].Sequence
	}
	if err := s.touch(touched); err != nil {
		return err
	}
	s.take(batch)
	window := s.allowed()
	s.mu.Lock()
	if len(batch) == 0 {
		s.caughtUp(before)
	}
	s.pump(window, -1)
	return nil
}

// take gives read commands to their lanes.
func (s *Session) take(batch []*bridge.Delivery) {
	now := time.Now()
	for _, d := range batch {
		s.mu.Lock()
		b := &s.back
		c := s.commands[d.Sequence]
		known := c != nil || s.memory.has(d.Sequence)
		if c != nil {
			c.passed = true
		}
		d.Settler, d.Redelivered = nil, d.Sequence <= b.foreign
		s.mu.Unlock()
		if !known {
			c = s.read(d, now)
		}
		s.mu.Lock()
		if s.closed { // what is not taken is the next owner's to read
			s.mu.Unlock()
			return
		}
		if !known {
			s.admit(c)
		}
		b.next = max(b.next, d.Sequence+1)
		b.high = max(b.high, d.Sequence)
		b.leaves(int(d.Pending), b.high)
		s.mu.Unlock()
	}
	s.cfg.Metrics.taken(len(batch))
}

// caughtUp follows a read that found nothing: before is the highest sequence
// that was known of when it began, and what cannot be read up to there was
// erased. It is called with mu held.
func (s *Session) caughtUp(before uint64) {
	b := &s.back
	b.next = max(b.next, before+1)
	if b.high >= b.next {
		return // or more was delivered meanwhile
	}
	b.on, b.shed, b.behind = false, false, 0
	s.cfg.Logger.Log(&s.life, b.level(), "session is live again", "session", s.cfg.Session, "from", b.next)
}

// headAged reports whether WA_SEND will soon forget what the session could not
// send.
func (s *Session) headAged(now time.Time) bool {
	return s.cfg.MaxAge > 0 && s.roomIn(1, 2) && (s.back.oldest.IsZero() || s.aged(s.back.oldest, now))
}

// readAged gives the commands that the stream will soon forget their outcome,
// though the session cannot send.
func (s *Session) readAged() error {
	s.mu.Lock()
	from := s.back.next
	s.mu.Unlock()
	batch, err := s.readSend(&s.life, from, peekBatch)
	if err != nil {
		return err
	}
	now := time.Now()
	aged := 0
	for aged < len(batch) && s.aged(batch[aged].Stored, now) {
		aged++
	}
	s.take(batch[:aged])
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case aged < len(batch):
		s.back.oldest = batch[aged].Stored
	case len(batch) == 0:
		s.back.oldest = now
	}
	s.expireLate(now)
	return nil
}

func (s *Session) readSend(ctx context.Context, from uint64, limit int) ([]*bridge.Delivery, error) {
	return s.cfg.Reader.ReadSend(ctx, s.cfg.Session, from, limit)
}

// count learns how much there is to be read.
func (s *Session) count() error {
	s.mu.Lock()
	from, high := s.back.next, s.back.high
	s.mu.Unlock()
	batch, err := s.readSend(&s.life, from, 1)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := 0
	if len(batch) > 0 {
		left = int(batch[0].Pending) + 1
	}
	s.back.leaves(left, high)
	return nil
}

// leaves says how much there is to be read, of what is known up to a sequence.
func (b *backlog) leaves(n int, upTo uint64) {
	b.behind, b.counted, b.uncounted = n, upTo, false
}
