package outbound

import (
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// answered hears what the platform made of a send.
func (s *Session) answered(c *command, r bridge.Result) {
	s.cfg.Metrics.answered(r.Class)
	now := time.Now()
	s.heard.Store(now.UnixNano())
	window := s.allowed()
	s.mu.Lock()
	if s.ledger != nil && !c.Verb {
		s.noteLater(c, r)
	} else {
		s.judge(c, &r, now)
	}
	s.land()
	s.pump(window, pumpBudget)
}

// land frees one place of the window.
func (s *Session) land() {
	s.inflight--
	s.settleDown()
}

// settleDown tells Close when no answer is outstanding or being written down.
func (s *Session) settleDown() {
	if s.inflight == 0 && s.noting == 0 && s.landed != nil {
		close(s.landed)
		s.landed = nil
	}
}

// judge decides by the class of an answer what follows. It is called with mu
// held.
func (s *Session) judge(c *command, r *bridge.Result, now time.Time) {
	if c.state == isDecided { // a status was quicker
		s.leaveLane(c, now)
		return
	}
	c.state = isWaiting
	switch r.Class {
	case codec.Accepted:
		s.hold.times = 0
		s.decide(c, outcome{word: codec.StatusAccepted, class: codec.Accepted, id: r.ID}, now)
	case codec.Invalid, codec.Permanent:
		s.decide(c, refusal(r), now)
	case codec.Expired:
		s.decide(c, outcome{word: codec.StatusExpired, class: codec.Expired, title: r.Reason}, now)
	case codec.Throttled:
		s.throttle(c, r, now)
	case codec.Transient:
		c.failures++
		if r.Tries > 0 && c.failures >= r.Tries {
			s.decide(c, refusal(r), now)
			return
		}
		s.retry(c, now, r.Wait)
	case codec.Unauthorized, codec.Denied:
		// The platform says when it may send again; until then its window is 0.
		// Where it is not, this keeps the session from running hot.
		s.holdSession(now, r.Wait, true)
		s.retry(c, now, 0)
	default: // codec.Unknown, and what no platform should say
		s.unanswered(c, r, now)
	}
}

// throttle waits as far as the limit reaches.
func (s *Session) throttle(c *command, r *bridge.Result, now time.Time) {
	switch r.Scope {
	case codec.ScopeApp:
		s.hold.times++
		s.cfg.App.Hold(now.Add(max(r.Wait, jitter(s.hold.times, s.cfg.MinBackoff, s.cfg.MaxBackoff))))
		s.requeue(c, now)
	case codec.ScopeSession:
		s.holdSession(now, r.Wait, false)
		s.requeue(c, now)
	case codec.ScopeMessage, codec.ScopeLane:
		wait := max(r.Wait, pairWait(c.throttles))
		c.throttles++
		s.parkHead(c, now, wait)
	}
}

// holdSession keeps everything of the session from being sent for a while.
func (s *Session) holdSession(now time.Time, least time.Duration, refused bool) {
	s.hold.times++
	until := now.Add(max(least, jitter(s.hold.times, s.cfg.MinBackoff, s.cfg.MaxBackoff)))
	if until.After(s.hold.until) {
		s.hold.until, s.hold.refused = until, refused
	}
}

// unanswered follows a send that was written and got no answer. Where sending
// the ref again is harmless it goes again, from the same place.
func (s *Session) unanswered(c *command, r *bridge.Result, now time.Time) {
	c.written = true
	if s.ledger == nil || c.Verb {
		c.failures++
		if c.failures == 1 {
			s.parkHead(c, now, r.Wait)
			return
		}
		s.retry(c, now, r.Wait)
		return
	}
	s.cfg.Metrics.unanswered()
	s.doubt(c, now)
}

// doubt keeps a command, and its lane, until a status resolves it or Sweep
// finds that none came.
func (s *Session) doubt(c *command, now time.Time) {
	c.state = isDoubtful
	c.doubt = now.Add(s.cfg.Doubt)
}

// retry parks the lane for a time that grows with the failures in a row.
func (s *Session) retry(c *command, now time.Time, least time.Duration) {
	s.parkHead(c, now, max(least, jitter(c.failures-1, s.cfg.MinBackoff, s.cfg.MaxBackoff)))
}

// parkHead keeps the lane of a command that was not decided, with the command
// at its head.
func (s *Session) parkHead(c *command, now time.Time, wait time.Duration) {
	l := c.lane
	l.busy = false
	switch {
	case l.place != nowhere:
	case wait <= 0:
		s.ready.push(l)
	default:
		s.park(l, now, now.Add(wait))
	}
}

func (s *Session) requeue(c *command, now time.Time) { s.parkHead(c, now, 0) }

// decide gives a command its outcome and its lane to the next.
func (s *Session) decide(c *command, o outcome, now time.Time) {
	o.at = now
	c.state, c.outcome = isDecided, o
	s.leaveLane(c, now)
	s.end(c)
}

// leaveLane takes a decided command out of its lane.
func (s *Session) leaveLane(c *command, now time.Time) {
	l := c.lane
	if l == nil {
		return
	}
	head := l.head == c
	l.remove(c)
	c.lane = nil
	if head {
		s.advance(l, now)
	}
}

func refusal(r *bridge.Result) outcome {
	o := outcome{word: codec.StatusRejected, class: r.Class, title: r.Reason}
	if e := r.Error; e != nil {
		o.code, o.title, o.detail = e.Code, e.Title, e.Detail
	}
	return o
}

// late reports whether a command may no longer be sent: WA_SEND will soon
// forget it, or its deadline came before the first write. One that this process
// has written may go again.
func (s *Session) late(c *command, now time.Time) bool {
	missed := !c.deadline.IsZero() && !now.Before(c.deadline) && (!c.written || c.attempts == 0)
	return missed || s.aged(c.stored, now)
}

// aged reports whether WA_SEND will soon forget what it stored then: an outcome
// comes before that.
func (s *Session) aged(stored, now time.Time) bool {
	if s.cfg.MaxAge <= 0 || stored.IsZero() {
		return false
	}
	return now.Sub(stored) >= s.cfg.MaxAge-min(s.cfg.MaxAge/10, time.Hour)
}

// expire ends a late command. Where it may have been written, by this process
// or another, the word is unknown. It is called with mu held.
func (s *Session) expire(c *command, now time.Time) {
	o := outcome{word: codec.StatusExpired, class: codec.Expired, title: "not sent before WA_SEND forgets it"}
	if !c.deadline.IsZero() && !now.Before(c.deadline) {
		o.title = "deadline passed before it was sent"
	}
	if c.written {
		o = unknownOutcome()
	}
	s.decide(c, o, now)
}
