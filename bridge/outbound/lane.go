package outbound

import (
	"time"

	"golang.org/x/time/rate"
)

// lane is the ordered queue of one conversation. Its head is the command that
// is next, or that the platform has; the others wait behind it.
type lane struct {
	key        string
	head, tail *command
	// busy: the head is with the platform, the ledger, or in doubt.
	busy bool
	// place says which list of the session holds the lane.
	place place
	at    time.Time // parked until then
	next  *lane     // in the ready list
	pace  *rate.Limiter
}

type place uint8

const (
	nowhere place = iota
	isReady
	isParked
)

// push puts a command in by its sequence, which is at the end except for one
// whose first delivery was lost. The head keeps its place while it is busy.
func (l *lane) push(c *command) {
	if l.tail == nil || l.tail.sequence < c.sequence {
		if l.tail == nil {
			l.head = c
		} else {
			l.tail.next = c
		}
		l.tail = c
		return
	}
	at := &l.head
	if l.busy {
		at = &l.head.next
	}
	for *at != nil && (*at).sequence < c.sequence {
		at = &(*at).next
	}
	c.next = *at
	*at = c
	if c.next == nil {
		l.tail = c
	}
}

// remove takes a command out, wherever it stands.
func (l *lane) remove(c *command) {
	var before *command
	for at := l.head; at != nil; before, at = at, at.next {
		if at != c {
			continue
		}
		if before == nil {
			l.head = c.next
		} else {
			before.next = c.next
		}
		if l.tail == c {
			l.tail = before
		}
		c.next = nil
		return
	}
}

// laneList is a queue of lanes whose head may be sent: each sends one command
// and goes to the end.
type laneList struct{ first, last *lane }

func (q *laneList) push(l *lane) {
	l.place, l.next = isReady, nil
	if q.last == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

func (q *laneList) pop() *lane {
	l := q.first
	q.first = l.next
	if q.first == nil {
		q.last = nil
	}
	l.place, l.next = nowhere, nil
	return l
}

// enterLane gives a command the last place in its conversation. It is called
// with mu held.
func (s *Session) enterLane(c *command) {
	l := s.lanes[c.Conversation]
	if l == nil {
		l = s.newLane(c.Conversation)
	}
	c.lane = l
	l.push(c)
	if l.place == nowhere && !l.busy {
		s.ready.push(l)
	}
}

func (s *Session) newLane(key string) *lane {
	var l *lane
	if n := len(s.free); n > 0 {
		l, s.free = s.free[n-1], s.free[:n-1]
	} else {
		l = &lane{}
	}
	l.key = key
	l.pace = newLimiter(s.cfg.Limits.ConversationRate, s.cfg.Limits.ConversationBurst)
	if s.lanes == nil {
		s.lanes = make(map[string]*lane)
	}
	s.lanes[key] = l
	return l
}

// dropLane forgets an empty lane, unless its limiter still remembers something.
func (s *Session) dropLane(l *lane, now time.Time) {
	if l.pace != nil && l.pace.TokensAt(now) < float64(l.pace.Burst()) {
		return
	}
	delete(s.lanes, l.key)
	*l = lane{}
	if len(s.free) < 256 {
		s.free = append(s.free, l)
	}
}
