package outbound

import (
	"errors"
	"log/slog"
	"time"

	"wabridge/bridge"
)

// backlog is how far a session is behind what JetStream delivers to it.
//
// While it is on, deliveries are acked unread and a reader takes the commands
// from WA_SEND by sequence. Before anything is acked unread, the cursor in
// wa_backlog says from where the next owner has to read.
type backlog struct {
	on bool
	// shed: the session cannot send; what waits is dropped from memory once the
	// cursor covers it.
	shed bool
	// uncounted: more of it is not delivered.
	uncounted bool
	keeping   bool
	cause     cause
	// next is what the reader reads from; everything from first up to next it
	// has read.
	first, next uint64
	high        uint64 // the highest sequence delivered, read or known of
	// stored is the cursor as wa_backlog holds it, 0 where it may hold none, and
	// held the cursor that it may still hold, 0 where it holds none. They differ
	// while it is being cleared. touched is the highest sequence that may have been
	// sent, as wa_backlog has it.
	stored, held, touched uint64
	revision              uint64
	// foreign is what touched was when this process started: another process
	// may have tried what is at or below it.
	foreign uint64
	storeAt time.Time     // not before then, unless something depends on it
	unread  []unread      // delivered before a cursor covered it
	behind  int           // to be read, as far as this process knows
	counted uint64        // the highest sequence that is known to be among these
	apart   chan struct{} // closed when the session is detached; nil: nobody waits
	oldest  time.Time     // when the command at next was stored; zero: not known
	stuck   time.Time     // since when the session cannot send
}

type unread struct {
	sequence uint64
	settler  bridge.Settler
}

const (
	// unreadLimit is how many deliveries wait for the first cursor at most.
	unreadLimit = 1 << 14
	// cursorEvery is how often the cursor follows, at the least.
	cursorEvery = time.Second
)

// cause says why a session goes to its backlog.
type cause uint8

const (
	isFull    cause = iota // it holds as much as it may
	isUnable               // it cannot send
	forOthers              // it could keep up, but its shard's consumer does not; see Detach
)

// level is that of what is logged of it: that a session goes to its backlog for
// others, for a moment, is no news.
func (b *backlog) level() slog.Level {
	if b.cause == forOthers {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// hasRead reports whether the reader took a sequence.
func (b *backlog) hasRead(sequence uint64) bool {
	return sequence >= b.first && sequence < b.next
}

// enterBacklog leaves everything from a sequence on to the reader. It is called
// with mu held.
func (s *Session) enterBacklog(next uint64, why cause) {
	b := &s.back
	if !b.on && b.next < next {
		// Between the two, deliveries went straight into lanes.
		b.first, b.next = next, next
	}
	b.on, b.shed, b.cause = true, why == isUnable, why
	b.oldest = time.Time{}
	s.cfg.Logger.Log(&s.life, b.level(), "session goes to its backlog", "session", s.cfg.Session, "from", next, "unable", b.shed)
	s.keep()
}

// covered reports whether the next owner would read a sequence.
func (s *Session) covered(sequence uint64) bool {
	return s.back.stored != 0 && sequence >= s.back.stored
}

// leaveUnread returns the settler of a delivery that the reader will come to,
// where it may be acked now.
func (s *Session) leaveUnread(d *bridge.Delivery) bridge.Settler {
	b := &s.back
	if d.Sequence > b.counted {
		b.behind++
	}
	if s.covered(d.Sequence) && s.may() {
		if s.window > 0 && s.roomIn(1, 2) {
			s.keep()
		}
		return d.Settler
	}
	if len(b.unread) < unreadLimit { // beyond, it comes again
		b.unread = append(b.unread, unread{d.Sequence, d.Settler})
	}
	s.keep()
	return nil
}

// keep runs the keeper of the backlog. It is called with mu held.
func (s *Session) keep() {
	if !s.back.keeping && !s.closed {
		s.back.keeping = true
		s.waken() // what the keeper leaves waiting, Sweep comes back to
		s.spawn(s.keeper)
	}
}

// keeper does what the backlog needs until there is nothing to do now.
func (s *Session) keeper() {
	for {
		window, may := s.allowed(), s.may()
		s.mu.Lock()
		s.window = window
		s.tellDetached()
		step := s.nextStep(may)
		if step == nil {
			s.back.keeping = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if err := step(); err != nil {
			if s.life.Err() != nil || errors.Is(err, bridge.ErrClosed) {
				return
			}
			s.cfg.Logger.Warn("backlog waits", "session", s.cfg.Session, "error", err)
			if !pause(&s.life, cursorEvery) {
				return
			}
		}
	}
}

// nextStep is what the keeper has to do next, or nil.
func (s *Session) nextStep(may bool) func() error {
	b := &s.back
	now := time.Now()
	lowest := s.lowest()
	switch {
	case s.closed || !may:
		return nil
	case b.on && (b.stored == 0 || lowest < b.stored):
		touched := max(b.touched, s.highestTried())
		return func() error { return s.storeCursor(&s.life, lowest, touched) }
	case b.on && s.releaseCovered():
		return s.ackUnread
	case b.on && s.canRead(now):
		return s.readOn
	case b.on && b.uncounted:
		return s.count
	case b.on && s.headAged(now):
		return s.readAged
	case !b.on && b.held != 0 && !s.leans():
		return s.clearCursor
	case b.stored == 0:
		return nil
	case lowest > b.stored && !now.Before(b.storeAt):
		return func() error { return s.storeCursor(&s.life, lowest, b.touched) }
	default:
		return nil
	}
}

// lowest is the first sequence that is not settled, as far as this session
// knows.
func (s *Session) lowest() uint64 {
	lowest := s.back.high + 1
	if s.back.on {
		lowest = s.back.next
	}
	for sequence := range s.commands {
		lowest = min(lowest, sequence)
	}
	return lowest
}

// highestTried is the highest sequence in hand that may be sent before the
// cursor is written again.
func (s *Session) highestTried() uint64 {
	if !s.back.shed {
		return s.back.next - 1
	}
	var highest uint64
	for sequence, c := range s.commands {
		if c.written || c.state != isWaiting {
			highest = max(highest, sequence)
		}
	}
	return highest
}

// leans reports whether a command in hand was acked unread, so that only the
// cursor keeps it.
func (s *Session) leans() bool {
	for _, c := range s.commands {
		if c.settler == nil {
			return true
		}
	}
	return false
}

// releaseCovered reports whether something can be acked unread or dropped.
func (s *Session) releaseCovered() bool {
	if len(s.back.unread) > 0 || s.back.shed {
		return true
	}
	for _, c := range s.commands {
		if c.settler != nil && c.state != isDecided && s.covered(c.sequence) {
			return true
		}
	}
	return false
}

// ackUnread acks what the cursor covers, so that a session that cannot keep up
// takes no room in its shard.
func (s *Session) ackUnread() error {
	s.mu.Lock()
	b := &s.back
	var settlers []bridge.Settler
	for _, u := range b.unread {
		if s.covered(u.sequence) {
			settlers = append(settlers, u.settler)
		}
	}
	b.unread = nil
	for _, c := range s.commands {
		if c.settler != nil && c.state != isDecided && s.covered(c.sequence) {
			settlers = append(settlers, c.settler)
			c.settler, c.passed = nil, true
		}
	}
	if b.shed {
		b.shed = false
		s.shed()
	}
	s.mu.Unlock()
	for _, settler := range settlers {
		acknowledge(settler)
	}
	s.Wake()
	return nil
}

// shed drops the commands that wait and were never written: the reader takes
// them again. What may be written stays, at the head of its lane.
func (s *Session) shed() {
	b := &s.back
	now := time.Now()
	for sequence, c := range s.commands {
		if c.state != isWaiting || c.lane == nil || c.written || !s.covered(sequence) {
			continue
		}
		delete(s.commands, sequence)
		s.bytes -= len(c.body)
		s.leaveLane(c, now)
		if c.span != nil {
			c.span.End()
		}
		b.behind++
		if sequence < b.next {
			b.next, b.oldest = sequence, c.stored
		}
	}
	b.first = min(b.first, b.next)
}
