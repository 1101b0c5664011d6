package outbound

// A session whose shard's consumer is held up by another one reads ahead of it:
// it goes to its backlog though it could keep up, and its reader reads what it
// is told of. So all that holds of a backlog holds here.

// aheadStride is how much further than a read the cursor of a session that reads
// ahead says that it may have sent: it need not be written for each command.
const aheadStride = 1 << 14

// Behind reports whether the session is in its backlog for itself: what the
// shard's consumer delivers of it is acked unread.
func (s *Session) Behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.back.on && !s.back.ahead
}

// Announce tells of a command of this session in WA_SEND that the shard's
// consumer has not come to. Everything before from must have been delivered or
// been settled, and no Deliver may run meanwhile. The session then reads what it
// is told of, whatever is delivered, until Rejoin. It reports whether that is of
// use: a session that is behind for itself needs to hear no more.
func (s *Session) Announce(from, sequence uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.back
	if s.closed || b.on && !b.ahead {
		return false
	}
	if !b.on {
		next := max(from, b.high+1)
		if sequence < next {
			return true // it was delivered meanwhile
		}
		b.ahead = true
		s.enterBacklog(next, false)
	}
	if sequence >= b.next {
		b.behind++
	}
	b.high = max(b.high, sequence)
	if b.behind > s.limit() {
		b.ahead = false
	}
	s.keep()
	return b.ahead
}

// Rejoin ends what Announce began, once nothing is announced any more: the
// session reads on to the end, and from there on takes what is delivered.
func (s *Session) Rejoin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.back.ahead {
		s.back.ahead = false
		s.keep()
	}
}

// abreast reports whether a session that reads ahead has read all that it knows
// of.
func (b *backlog) abreast() bool { return b.ahead && b.next > b.high }

// reach is the sequence that the cursor has to name before what was read up to
// one is sent.
func (b *backlog) reach(sequence uint64) uint64 {
	if b.ahead {
		return sequence + aheadStride
	}
	return sequence
}
