package outbound

import (
	"slices"
	"sync"
	"time"

	"wabridge/bridge"
)

// awake are the sessions that Sweep may find something to do for.
type awake struct {
	mu       sync.Mutex
	sessions []*Session
}

// waken has the session swept until it is idle. It is called with mu held.
func (s *Session) waken() {
	if s.active {
		return
	}
	s.active = true
	s.cfg.awake.mu.Lock()
	defer s.cfg.awake.mu.Unlock()
	s.cfg.awake.sessions = append(s.cfg.awake.sessions, s)
}

// Sweep does what time asks for, for all sessions: it keeps held commands from
// coming again, ends what is late or was never answered, and sends a session that
// cannot keep up to its backlog. It is called about every second, by one
// goroutine, so that a session needs no timer. It does not block, and a session
// that has nothing to do costs nothing.
func (e *Env) Sweep(now time.Time) {
	e.awake.mu.Lock()
	sessions := e.awake.sessions
	e.awake.sessions = nil
	e.awake.mu.Unlock()
	sessions = slices.DeleteFunc(sessions, func(s *Session) bool { return !s.sweep(now) })
	e.awake.mu.Lock()
	defer e.awake.mu.Unlock()
	e.awake.sessions = append(sessions, e.awake.sessions...)
}

// sweep is Sweep for one session. It reports whether there may be more to do.
func (s *Session) sweep(now time.Time) bool {
	window, may := s.allowed(), s.may()
	s.mu.Lock()
	s.window = window
	if s.closed || !may {
		over := s.closed
		s.mu.Unlock()
		return !over
	}
	if s.idle() {
		s.active = false
		s.commands, s.lanes, s.free, s.parked = nil, nil, nil, nil // it may be for long
		s.mu.Unlock()
		return false
	}
	if len(s.commands) == 0 && !s.back.on && s.back.held == 0 {
		s.back.stuck = time.Time{}
		s.pruneLanes(now)
		s.pump(window, pumpBudget)
		return true
	}
	s.expireLate(now)
	s.watchStuck(now)
	held := s.heldCommands(now)
	if s.back.on || s.back.held != 0 {
		s.keep()
	}
	s.pruneLanes(now)
	s.pump(window, pumpBudget)
	for _, settler := range held {
		if err := settler.InProgress(); err != nil {
			s.cfg.Logger.Debug("a held command may come again", "session", s.cfg.Session, "error", err)
		}
	}
	return true
}

// idle reports whether there is nothing for Sweep to do until a command is put on
// the books or the keeper begins, which both make the session active. It is
// called with mu held.
func (s *Session) idle() bool {
	b := &s.back
	return len(s.commands) == 0 && len(s.lanes) == 0 && !b.on && b.held == 0 && !b.keeping && b.stuck.IsZero()
}

// expireLate ends the commands that are late, wherever they wait, and the
// doubts that no status came for.
func (s *Session) expireLate(now time.Time) {
	for _, c := range s.commands {
		switch {
		case c.state == isDoubtful && !now.Before(c.doubt):
			s.resolve(c, now)
		case c.state == isWaiting && c.lane != nil && s.late(c, now):
			if !s.mayBeNoted(c) {
				s.expire(c, now)
			} else if l := c.lane; l.head == c && !l.busy {
				l.busy = true
				c.state = isFlying
				s.inflight++
				s.spawn(func() { s.noteAndSend(c) })
			}
		}
	}
}

// watchStuck sends a session that has been unable to send for too long to its
// backlog.
func (s *Session) watchStuck(now time.Time) {
	_, held := s.held(now)
	b := &s.back
	switch {
	case s.window > 0 && !held || len(s.commands) == 0:
		b.stuck = time.Time{}
	case b.stuck.IsZero():
		b.stuck = now
	case now.Sub(b.stuck) >= s.cfg.Stuck:
		b.stuck = now
		if s.hasWaiting() {
			s.enterBacklog(b.high+1, isUnable)
		}
	}
}

func (s *Session) hasWaiting() bool {
	for _, c := range s.commands {
		if c.state == isWaiting && c.lane != nil && !c.written {
			return true
		}
	}
	return false
}

// heldCommands are those that JetStream must hear of now.
func (s *Session) heldCommands(now time.Time) []bridge.Settler {
	var held []bridge.Settler
	for _, c := range s.commands {
		if c.settler != nil && now.Sub(c.heard) >= s.cfg.Progress {
			c.heard = now
			held = append(held, c.settler)
		}
	}
	return held
}

// pruneLanes forgets the empty lanes whose limiters are full again.
func (s *Session) pruneLanes(now time.Time) {
	if s.cfg.Limits.ConversationRate <= 0 {
		return
	}
	for _, l := range s.lanes {
		if l.head == nil && l.place == nowhere && !l.busy {
			s.dropLane(l, now)
		}
	}
}
