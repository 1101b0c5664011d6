package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"wabridge/bridge"
)

const (
	// lagging is how many commands the shard's consumer has to deliver when the
	// sessions that can keep up no longer wait for them.
	lagging = 1000
	// skipWait bounds a skip: meanwhile nothing is delivered in the shard.
	skipWait = 5 * time.Second
	// skipAgain is the pause between two skips, and skipLater that after one that
	// could not be.
	skipAgain = 100 * time.Millisecond
	skipLater = 5 * time.Second
	// detaching bounds how many sessions are detached at once.
	detaching = 32
)

// What keeps a shard from skipping: a command would be lost.
var (
	errUnknownSession = errors.New("commands of a session that is not defined are among what is to be delivered")
	errNotOwner       = errors.New("this replica may not act now")
)

// skipWhereUseful begins a skip where a delivery shows that the consumer lags
// because of a session that reads its commands for itself. It is called by the
// consumer.
func (s *shard) skipWhereUseful(d *bridge.Delivery) {
	s.front.Store(max(s.front.Load(), d.Sequence))
	// What was delivered before the consumer's last reset may come to a session
	// as new where it reads it: such a delivery says that there is more of it.
	if d.Pending < lagging || d.Redelivered || len(s.all()) < 2 || time.Now().UnixNano() < s.skipAt.Load() || !s.isBehind(d.Session) {
		return
	}
	if s.skipping.CompareAndSwap(false, true) {
		go s.skip()
	}
}

// isBehind reports whether what is delivered of a session is passed over.
func (s *shard) isBehind(session string) bool {
	one := s.all()[session]
	return one == nil || one.out.Behind()
}

// skip takes the shard's consumer to the end of what WA_SEND holds, past what
// one session has too much of: every session then reads what is before, and is
// live again once it has.
func (s *shard) skip() {
	<-s.begun
	s.turn.Lock()
	defer s.turn.Unlock()
	defer s.skipping.Store(false)
	if s.ctx.Err() != nil || s.consumer == nil {
		return
	}
	pause := skipAgain
	ctx, cancel := context.WithTimeout(s.ctx, skipWait)
	defer cancel()
	if err := s.skipOver(ctx); err != nil && s.ctx.Err() == nil {
		s.log.Info("a flood is delivered and not skipped", "error", err)
		pause = skipLater
	}
	s.skipAt.Store(time.Now().Add(pause).UnixNano())
	if s.consumer == nil {
		s.retry("consuming again", s.consume)
	}
}

// skipOver is called with turn held. It may leave the shard without a consumer.
func (s *shard) skipOver(ctx context.Context) error {
	end, err := s.host.broker.LastSend(ctx)
	if err != nil || end <= s.front.Load() {
		return err // or it has caught up meanwhile
	}
	last, err := s.host.broker.LastSends(ctx, s.n)
	if err != nil {
		return err
	}
	for id, sequence := range last {
		if s.all()[id] == nil && sequence > s.front.Load() {
			return fmt.Errorf("session %s: %w", id, errUnknownSession)
		}
	}
	if s.orphans.Hold() {
		return errUnknownSession
	}
	s.stopConsumer(s.ctx)
	var sessions errgroup.Group
	sessions.SetLimit(detaching)
	for id, one := range s.all() {
		sessions.Go(func() error { return one.out.Detach(ctx, s.front.Load()+1, last[id]) })
	}
	if err := sessions.Wait(); err != nil {
		return err
	}
	if s.orphans.Hold() {
		return errUnknownSession
	}
	if !s.host.may() {
		return errNotOwner
	}
	end = max(end, s.front.Load())
	s.log.Debug("shard consumer skips a flood", "from", s.front.Load()+1, "to", end)
	return s.host.broker.SkipSend(ctx, s.n, end)
}
