package outbound

import (
	"time"

	"wabridge/bridge"
)

// What a session holds at most before it goes to its backlog: four windows of
// commands and no fewer than leastHeld, or heldBytes of bodies.
const (
	leastHeld = 1024
	heldBytes = 4 << 20
)

// recognize reports whether a delivery is known already, and what is to be
// acked for it.
func (s *Session) recognize(d *bridge.Delivery) (again bridge.Settler, known bool) {
	s.back.high = max(s.back.high, d.Sequence)
	if c := s.commands[d.Sequence]; c != nil {
		if c.settler == nil && s.covered(d.Sequence) && s.may() {
			c.passed = true
			return d.Settler, true
		}
		c.settler, c.heard = d.Settler, time.Now()
		return nil, true
	}
	if s.memory.has(d.Sequence) || s.back.hasRead(d.Sequence) {
		return d.Settler, true
	}
	return nil, false
}

// admit puts a command in its lane, or brings it to its end where it cannot be
// sent. It is called with mu held.
func (s *Session) admit(c *command) {
	if s.closed {
		return
	}
	if other := s.commands[c.sequence]; other != nil {
		if c.settler != nil {
			other.settler, other.heard = c.settler, c.heard
		}
		return
	}
	s.book(c)
	s.back.high = max(s.back.high, c.sequence)
	if c.state == isDecided {
		s.end(c)
		return
	}
	s.enterLane(c)
}

// book puts a command on the books. It is called with mu held.
func (s *Session) book(c *command) {
	if s.commands == nil {
		s.commands = make(map[uint64]*command)
	}
	s.commands[c.sequence] = c
	s.bytes += len(c.body)
	s.waken()
}

// end brings a decided command to its end. It is called with mu held.
func (s *Session) end(c *command) {
	if s.settle == nil {
		s.settle = newSettlement(&s.cfg, &s.life, s.forget)
	}
	s.settle.add(c)
}

// settling is who ends commands, or nil. It is called without mu.
func (s *Session) settling() *settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settle
}

// full reports whether the session holds as much as it may.
func (s *Session) full() bool {
	return len(s.commands) >= s.limit() || s.bytes >= heldBytes
}

// roomIn reports whether it holds no more than a share of that.
func (s *Session) roomIn(numerator, denominator int) bool {
	return len(s.commands) <= s.limit()*numerator/denominator && s.bytes <= heldBytes*numerator/denominator
}

func (s *Session) limit() int { return max(s.least, 4*s.window) }

// waitForRoom is called with mu held, which it gives up while it waits. It
// reports whether there is room now.
func (s *Session) waitForRoom() bool {
	if s.cfg.Patience == nil || s.window == 0 || s.bytes == 0 {
		return false
	}
	patience := s.cfg.Patience()
	if patience <= 0 {
		return false
	}
	roomy := make(chan struct{})
	s.roomy = roomy
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-roomy:
	case <-timer.C:
	case <-s.life.Done():
	}
	s.mu.Lock()
	s.roomy = nil
	return !s.full()
}

// forget takes a settled command off the books.
func (s *Session) forget(c *command) bridge.Settler {
	s.mu.Lock()
	defer s.mu.Unlock()
	settler := c.settler
	c.settler = nil
	delete(s.commands, c.sequence)
	s.bytes -= len(c.body)
	s.memory.add(c.sequence)
	if s.roomy != nil && s.roomIn(3, 4) {
		close(s.roomy)
		s.roomy = nil
	}
	if s.back.on && s.window > 0 && s.roomIn(1, 2) {
		s.keep()
	}
	s.tellDetached()
	return settler
}
