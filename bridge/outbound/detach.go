package outbound

import (
	"context"
	"fmt"

	"wabridge/bridge"
)

// Detach makes the session need nothing of what the shard's consumer has still
// to deliver: it reads it, as a backlog is read, and what it has in hand is in
// wa_backlog too. From is behind everything that was delivered, and last is the
// sequence of the session's last command in WA_SEND, or 0. No Deliver may run
// meanwhile.
//
// It blocks until that is so, or gives an error where ctx or the session ends
// before. Once it has returned without one, the consumer may go on behind last;
// see [Session.Prune].
func (s *Session) Detach(ctx context.Context, from, last uint64) error {
	s.mu.Lock()
	b := &s.back
	switch {
	case s.closed:
		s.mu.Unlock()
		return bridge.ErrClosed
	case b.on:
	case last >= from || !s.detached():
		s.enterBacklog(max(from, b.high+1), forOthers) //nolint:contextcheck // it outlives this call
	}
	b.high = max(b.high, last)
	b.uncounted = b.on
	if s.detached() {
		s.mu.Unlock()
		return nil
	}
	apart := make(chan struct{})
	b.apart = apart
	s.keep()
	s.mu.Unlock()
	select {
	case <-apart:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		b.apart = nil // nobody waits any more
		s.mu.Unlock()
		return fmt.Errorf("detaching session %s: %w", s.cfg.Session, context.Cause(ctx))
	case <-s.life.Done():
		return bridge.ErrClosed
	}
}

// detached reports whether all that is in hand or to be read is settled or is in
// wa_backlog. It is called with mu held.
func (s *Session) detached() bool {
	b := &s.back
	if len(b.unread) > 0 || b.on && (b.stored == 0 || s.lowest() < b.stored) {
		return false
	}
	for _, c := range s.commands {
		if c.settler != nil {
			return false
		}
	}
	return true
}

// tellDetached is called with mu held wherever something may have made it so.
func (s *Session) tellDetached() {
	if b := &s.back; b.apart != nil && s.detached() {
		close(b.apart)
		b.apart = nil
	}
}

// Behind reports whether the session cannot keep up: what the shard's consumer
// delivers of it is acked unread, and much is left to read.
func (s *Session) Behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.back.on && (s.back.cause != forOthers || s.back.behind > s.limit())
}
