package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/outbound"
)

const (
	// lagging is how many commands the shard's consumer has to deliver when the
	// sessions that can keep up no longer wait for it; atEnd, when they do again.
	lagging = 1000
	atEnd   = 50
	// lookAgain is the pause after a lookout that could not be, or broke.
	lookAgain = 10 * time.Second
	// While somebody looks out nobody waits for the shard's consumer, and it rests
	// for passRest after each passBatch deliveries: to pass over a flood as fast as
	// it can be delivered takes all that a small machine has.
	passBatch = 128
	passRest  = time.Millisecond
	// mostLookedFor bounds the sessions of one lookout: the server compares each
	// with each.
	mostLookedFor = 512
)

// lookout keeps the sessions that can keep up from waiting for the commands of
// one that cannot, while the shard's consumer passes those over: a second
// consumer tells them what there is for them, and they read it from the stream
// as a backlog is read. What the shard's consumer delivers, in its own time, is
// then acked unread.
type lookout struct {
	front  uint64 // the highest sequence delivered
	passed int    // deliveries while it is out
	cancel context.CancelFunc
	ended  chan struct{} // nil: none is out
	notYet time.Time
}

// errNotFor ends a LookAhead that a session has no use for.
var errNotFor = errors.New("the session is behind for itself")

// lookAhead begins or ends a lookout where a delivery shows that it is time, and
// reports whether the next delivery may come a little later. giving is held.
func (s *shard) lookAhead(d *bridge.Delivery) (rest bool) {
	l := &s.lookout
	l.front = max(l.front, d.Sequence)
	switch {
	case l.ended != nil:
		if d.Pending <= atEnd {
			l.cancel()
			return false
		}
		l.passed++
		return l.passed%passBatch == 0
	// What was delivered before the consumer's last reset may come to a session
	// as new where it reads it: such a delivery says that there is more of it.
	case d.Pending >= lagging && !d.Redelivered && s.isBehind(d.Session) && time.Now().After(l.notYet):
		s.beginLookout()
	}
	return false
}

// isBehind reports whether what is delivered of a session is passed over.
func (s *shard) isBehind(session string) bool {
	one := s.all()[session]
	return one == nil || one.out.Behind()
}

// beginLookout is called with giving held.
func (s *shard) beginLookout() {
	l := &s.lookout
	sessions := make([]string, 0, len(s.all()))
	for id, one := range s.all() {
		if !one.out.Behind() && len(sessions) < mostLookedFor {
			sessions = append(sessions, id)
		}
	}
	if len(sessions) == 0 {
		l.notYet = time.Now().Add(lookAgain / 10)
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	l.cancel, l.ended = cancel, make(chan struct{})
	go s.keepLookout(ctx, sessions, l.front+1)
}

// keepLookout announces to sessions what there is for them from a sequence on,
// until ctx ends or something breaks.
func (s *shard) keepLookout(ctx context.Context, sessions []string, from uint64) {
	told := make(map[*outbound.Session]struct{})
	for len(sessions) > 0 && ctx.Err() == nil {
		var useless string
		err := s.host.broker.LookAhead(ctx, s.n, sessions, from, func(session string, sequence uint64) error {
			s.giving.Lock()
			defer s.giving.Unlock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			from = sequence + 1
			one := s.all()[session]
			if one == nil || !one.out.Announce(s.lookout.front+1, sequence) {
				useless = session
				return errNotFor
			}
			told[one.out] = struct{}{}
			return nil
		})
		if !errors.Is(err, errNotFor) {
			if ctx.Err() == nil {
				s.log.Warn("no session is told of its commands ahead", "error", err)
			}
			break
		}
		sessions = slices.DeleteFunc(sessions, func(id string) bool { return id == useless })
	}
	s.giving.Lock()
	defer s.giving.Unlock()
	for one := range maps.Keys(told) {
		one.Rejoin()
	}
	l := &s.lookout
	if ctx.Err() == nil {
		l.notYet = time.Now().Add(lookAgain)
	}
	l.cancel()
	close(l.ended)
	l.ended = nil
}

// endLookout returns once no lookout is out. No delivery may begin one
// meanwhile.
func (s *shard) endLookout() {
	s.giving.Lock()
	ended := s.lookout.ended
	if ended != nil {
		s.lookout.cancel()
	}
	s.giving.Unlock()
	if ended != nil {
		<-ended
	}
}

// resetLookout is called before the consumer begins again, and so begins to
// deliver to sessions that it has not delivered to.
func (s *shard) resetLookout() {
	s.giving.Lock()
	defer s.giving.Unlock()
	s.lookout.front = 0
}
