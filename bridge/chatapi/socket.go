package chatapi

import (
	"net"
	"sync"
	"time"
)

// ahead is how much is read at once while data keeps coming, and gathered at
// once before it is written.
const ahead = 16 << 10

// blocks are what sockets borrow to read ahead and to gather.
var blocks = sync.Pool{New: func() any { return new([ahead]byte) }} //nolint:gochecknoglobals // holds no state; 10,000 idle sessions share it

// socket is a connection that borrows its buffers. An idle one waits for data
// with nothing but the small buffer of its reader, and only while data keeps
// coming does it read ahead; what is written between hold and flush goes out
// at once.
type socket struct {
	net.Conn

	// Of the one who reads.
	more   bool // the last read was full: there is more
	block  *[ahead]byte
	unread []byte // of block

	mu       sync.Mutex
	holding  bool
	gathered *[ahead]byte
	length   int
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if s.block == nil {
		if !s.more || len(p) >= ahead {
			n, err := s.Conn.Read(p)
			// A read of a whole payload is full as well, and says nothing.
			s.more = n == len(p) && n <= readBuffer
			return n, err
		}
		block, ok := blocks.Get().(*[ahead]byte)
		if !ok {
			block = new([ahead]byte)
		}
		n, err := s.Conn.Read(block[:])
		s.block, s.unread, s.more = block, block[:n], n == ahead
		if n == 0 {
			s.giveBack()
			return 0, err
		}
		// An error that came with data comes again.
	}
	n := copy(p, s.unread)
	if s.unread = s.unread[n:]; len(s.unread) == 0 {
		s.giveBack()
	}
	return n, nil
}

// giveBack returns the block that was read ahead into.
func (s *socket) giveBack() {
	blocks.Put(s.block)
	s.block, s.unread = nil, nil
}

// hold has what is written from here on gathered until flush.
func (s *socket) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = true
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holding {
		return s.Conn.Write(p)
	}
	if s.length+len(p) > ahead {
		if err := s.writeGathered(); err != nil {
			return 0, err
		}
		if len(p) > ahead/2 {
			return s.Conn.Write(p)
		}
	}
	if s.gathered == nil {
		block, ok := blocks.Get().(*[ahead]byte)
		if !ok {
			block = new([ahead]byte)
		}
		s.gathered = block
	}
	s.length += copy(s.gathered[s.length:], p)
	return len(p), nil
}

// flush ends hold: what was gathered is written, until deadline.
func (s *socket) flush(deadline time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding = false
	if s.length == 0 {
		return nil
	}
	if err := s.SetWriteDeadline(deadline); err != nil {
		return err
	}
	return s.writeGathered()
}

// writeGathered writes what was gathered and gives its block back.
func (s *socket) writeGathered() error {
	if s.gathered == nil {
		return nil
	}
	_, err := s.Conn.Write(s.gathered[:s.length])
	blocks.Put(s.gathered)
	s.gathered, s.length = nil, 0
	return err
}
