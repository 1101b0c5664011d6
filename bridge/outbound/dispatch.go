package outbound

import (
	"time"

	"wabridge/bridge"
)

// pumpBudget is how many sends a caller that must not be kept does itself.
const pumpBudget = 16

// bodySlack is what the callback adds to a body beside itself.
const bodySlack = 64

// coalesce is how far apart two settings of a session's timer are at least.
const coalesce = 2 * time.Millisecond

// pump sends what may be sent. It is called with mu held and gives it up. One
// goroutine pumps at a time; another that comes meanwhile leaves a note.
func (s *Session) pump(window, budget int) {
	if s.pumping {
		s.again = true
		s.mu.Unlock()
		return
	}
	s.pumping = true
	for sent := 0; ; sent++ {
		if sent == budget {
			s.spawn(func() {
				window := s.allowed()
				s.mu.Lock()
				s.pumping = false
				s.pump(window, -1)
			})
			s.mu.Unlock()
			return
		}
		c := s.pick(time.Now(), window)
		if c == nil && !s.again {
			s.pumping = false
			s.mu.Unlock()
			return
		}
		s.again = false
		s.mu.Unlock()
		if c != nil {
			s.launch(c)
		}
		window = s.allowed()
		s.mu.Lock()
	}
}

// pick takes the next command whose turn it is, or nil.
func (s *Session) pick(now time.Time, window int) *command {
	s.window = window
	if s.closed || s.inflight >= window || s.back.shed {
		return nil
	}
	if until, held := s.held(now); held {
		s.arm(now, until)
		return nil
	}
	s.rouse(now)
	for s.ready.first != nil {
		if wait := shortfall(s.pace, now); wait > 0 {
			s.arm(now, now.Add(wait))
			return nil
		}
		l := s.ready.pop()
		c := l.head
		if c == nil { // it was emptied meanwhile
			s.dropLane(l, now)
			continue
		}
		if l.busy {
			continue
		}
		if s.late(c, now) && !s.mayBeNoted(c) {
			s.expire(c, now)
			continue
		}
		if wait := shortfall(l.pace, now); wait > 0 {
			s.park(l, now, now.Add(wait))
			continue
		}
		spend(s.pace, now)
		spend(l.pace, now)
		l.busy = true
		c.state = isFlying
		if s.ledger == nil || c.Verb {
			c.attempts++
		}
		s.inflight++
		return c
	}
	return nil
}

// held reports until when nothing may be sent.
func (s *Session) held(now time.Time) (time.Time, bool) {
	until, held := s.cfg.App.held(now)
	if s.hold.until.After(now) && (!held || s.hold.until.After(until)) {
		return s.hold.until, true
	}
	return until, held
}

// launch gives a command to the platform, by way of the ledger where there is
// one. It is called without mu; what it changes of a flying command nobody
// else touches.
func (s *Session) launch(c *command) {
	if s.ledger != nil && !c.Verb {
		s.mu.Lock()
		s.spawn(func() { s.noteAndSend(c) })
		s.mu.Unlock()
		return
	}
	s.send(c)
}

func (s *Session) send(c *command) {
	if c.out.Done == nil {
		c.out = bridge.Outgoing{
			Ref:          c.ref,
			Type:         c.Type,
			Conversation: c.Conversation,
			Body:         c.AppendBody(make([]byte, 0, len(c.Body)+len(c.callback)+bodySlack), c.callback),
			TraceParent:  c.parent.traceparent,
			TraceState:   c.parent.tracestate,
			Media:        c.Media,
			Done:         func(r bridge.Result) { s.answered(c, r) },
		}
	}
	(*s.platform.Load()).Send(&c.out)
}

// park keeps a lane out of the round until then.
func (s *Session) park(l *lane, now, until time.Time) {
	l.place, l.at = isParked, until
	s.parked = append(s.parked, l)
	s.arm(now, until)
}

// rouse puts the parked lanes whose time has come back into the round.
func (s *Session) rouse(now time.Time) {
	if len(s.parked) == 0 {
		return
	}
	var next time.Time
	kept := s.parked[:0]
	for _, l := range s.parked {
		switch {
		case l.head == nil: // it was emptied meanwhile
			l.place = nowhere
			s.dropLane(l, now)
		case l.at.After(now):
			kept = append(kept, l)
			if next.IsZero() || l.at.Before(next) {
				next = l.at
			}
		default:
			s.ready.push(l)
		}
	}
	clear(s.parked[len(kept):])
	s.parked = kept
	if !next.IsZero() {
		s.arm(now, next)
	}
}

// arm makes the session's one timer fire at a time, or before.
func (s *Session) arm(now, at time.Time) {
	if s.finished || s.due.After(now) && !at.Before(s.due) {
		return
	}
	wait := max(at.Sub(now), coalesce)
	s.due = now.Add(wait)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.fire)
		return
	}
	s.timer.Reset(wait)
}

func (s *Session) fire() {
	window := s.allowed()
	s.mu.Lock()
	s.due = time.Time{}
	if s.back.on && window > 0 {
		s.keep()
	}
	s.pump(window, -1)
}

// advance lets a lane go on after its head has left it. It is called with mu
// held.
func (s *Session) advance(l *lane, now time.Time) {
	l.busy = false
	switch {
	case l.place != nowhere:
	case l.head != nil:
		s.ready.push(l)
	default:
		s.dropLane(l, now)
	}
}
