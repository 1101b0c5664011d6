package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"wabridge/bridge"
)

const (
	// lagging is how many commands the shard's consumer has to deliver when the
	// sessions that can keep up no longer wait for them.
	lagging = 1000
	// skipWait bounds a skip: meanwhile nothing is delivered in the shard.
	skipWait = 2 * time.Second
	// skipAgain is the pause between two skips; after one that could not be it is
	// skipLater, doubling to skipLast.
	skipAgain = 100 * time.Millisecond
	skipLater = 5 * time.Second
	skipLast  = 2 * time.Minute
	// detaching bounds how many sessions are detached at once.
	detaching = 32
)

// skips is how a shard's consumer stands.
type skips struct {
	front   atomic.Uint64 // the highest sequence that the consumer has delivered
	run     atomic.Uint64 // of the consumer: it counts them
	running atomic.Bool   // a skip is on its way
	notYet  atomic.Int64  // no skip before then, in Unix nanoseconds
	later   time.Duration // the pause after the last one that could not be; turn guards it
}

// restart is called before the consumer begins again, and so begins to deliver
// to sessions that it has not delivered to.
func (k *skips) restart() {
	k.run.Add(1)
	k.front.Store(0)
}

// pause says how long no skip comes after one.
func (k *skips) pause(failed bool) {
	wait := skipAgain
	if failed {
		k.later = min(max(2*k.later, skipLater), skipLast)
		wait = k.later
	} else {
		k.later = 0
	}
	k.notYet.Store(time.Now().Add(wait).UnixNano())
}

// What keeps a shard from skipping: a command would be lost.
var (
	errUnknownSession = errors.New("commands of a session that is not defined are among what is to be delivered")
	errNotOwner       = errors.New("this replica may not act now")
)

// skipWhereUseful begins a skip where a delivery shows that the consumer lags
// because of a session that reads its commands for itself. It is called by the
// consumer.
func (s *shard) skipWhereUseful(d *bridge.Delivery) {
	k := &s.skips
	k.front.Store(max(k.front.Load(), d.Sequence))
	// What was delivered before the consumer's last reset may come to a session
	// as new where it reads it: such a delivery says that there is more of it.
	if d.Pending < lagging || d.Redelivered || len(s.all()) < 2 || time.Now().UnixNano() < k.notYet.Load() {
		return
	}
	if one := s.all()[d.Session]; one == nil || !one.out.Behind() {
		return
	}
	if k.running.CompareAndSwap(false, true) {
		go s.skip(k.run.Load())
	}
}

// skip takes the shard's consumer to the end of what WA_SEND holds, past what
// one session has too much of: every session then reads what is before, and is
// live again once it has. It does nothing where the consumer has begun again
// since the run that asked for it.
func (s *shard) skip(run uint64) {
	<-s.begun
	s.turn.Lock()
	defer s.turn.Unlock()
	defer s.skips.running.Store(false)
	if s.ctx.Err() != nil || s.consumer == nil || s.skips.run.Load() != run {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, skipWait)
	defer cancel()
	err := s.skipOver(ctx)
	if err != nil && s.ctx.Err() == nil {
		s.log.Info("a flood is delivered and not skipped", "error", err)
	}
	s.skips.pause(err != nil)
	if s.consumer == nil {
		s.retry("consuming again", s.consume)
	}
}

// skipOver is called with turn held. It may leave the shard without a consumer.
func (s *shard) skipOver(ctx context.Context) error {
	front := &s.skips.front
	end, last, err := s.host.broker.LastSends(ctx, s.n)
	if err != nil || end <= front.Load() {
		return err // or it has caught up meanwhile
	}
	for id, sequence := range last {
		if s.all()[id] == nil && sequence > front.Load() {
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
		sessions.Go(func() error { return one.out.Detach(ctx, front.Load()+1, last[id]) })
	}
	if err := sessions.Wait(); err != nil {
		return err
	}
	if s.orphans.Hold() {
		return errUnknownSession
	}
	end = max(end, front.Load())
	s.log.Debug("shard consumer skips a flood", "from", front.Load()+1, "to", end)
	if !s.host.may() {
		return errNotOwner
	}
	return s.host.broker.SkipSend(ctx, s.n, end)
}
