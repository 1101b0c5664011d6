package chatapi

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// ahead is how much is read at once, and gathered at once before it is written.
// A TLS record holds no more.
const ahead = 16 << 10

// blocks are what sockets borrow to read and to gather.
var blocks = sync.Pool{New: func() any { return new([ahead]byte) }} //nolint:gochecknoglobals // holds no state; 10,000 idle sessions share it

// borrowBlock takes a block from the pool.
func borrowBlock() *[ahead]byte {
	if block, ok := blocks.Get().(*[ahead]byte); ok {
		return block
	}
	return new([ahead]byte)
}

// socket is a connection that borrows its buffers: an idle one has none. What is
// written between hold and flush goes out at once.
//
// A read never crosses the end of a frame, so that whoever reads frames from it
// has nothing left at the end of one: all that has arrived and is not dealt with
// is known here, and where there is nothing nobody has to wait.
type socket struct {
	net.Conn // the line, or TLS above it
	line     *line

	// Of the one who reads.
	block  *[ahead]byte
	unread []byte // of block
	failed error  // what reading ended with, once unread is read
	dry    bool   // the last read took all that was there
	bounds bounds

	mu       sync.Mutex
	holding  bool
	gathered *[ahead]byte
	length   int
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if len(s.unread) == 0 {
		if s.failed != nil {
			return 0, s.failed
		}
		if most := s.bounds.payload(); len(p) >= ahead && most >= ahead {
			n, err := s.Conn.Read(p[:min(uint64(len(p)), most)])
			s.bounds.take(p[:n])
			return n, err
		}
		if !s.load() {
			return 0, s.failed
		}
	}
	n := s.bounds.take(s.unread[:min(len(p), len(s.unread))])
	copy(p, s.unread[:n])
	s.pass(n)
	return n, nil
}

// load waits for data and reads it behind what is unread. It reports whether
// some came.
func (s *socket) load() bool {
	if s.block == nil {
		s.block = borrowBlock()
	}
	held := copy(s.block[:], s.unread)
	n, err := s.Conn.Read(s.block[held:])
	s.dry = n > 0 && n < ahead-held && s.plain()
	s.unread = s.block[:held+n]
	if err != nil && !errors.Is(err, errNothing) {
		s.failed = err
	}
	s.pass(0)
	return n > 0
}

// plain reports whether what is read is what the line has: TLS may have more.
func (s *socket) plain() bool { return s.Conn == net.Conn(s.line) }

// pass takes n bytes off what is unread.
func (s *socket) pass(n int) {
	if s.unread = s.unread[n:]; len(s.unread) == 0 && s.block != nil {
		blocks.Put(s.block)
		s.block, s.unread = nil, nil
	}
}

// more reports whether there is something to read, be it the reason why there is
// nothing any more. With wait, it waits for that.
func (s *socket) more(wait bool) bool {
	switch {
	case len(s.unread) > 0 || s.failed != nil:
		return true
	case wait:
		return s.await()
	case s.dry: // what came since, the poller tells
		s.dry = false
		return false
	}
	s.line.hasty = true
	defer func() { s.line.hasty = false }()
	return s.load() || s.failed != nil
}

// await waits without a block for the first byte.
func (s *socket) await() bool {
	first := make([]byte, 1)
	n, err := s.Conn.Read(first)
	s.failed = err
	if n > 0 {
		s.block = borrowBlock()
		s.unread = append(s.block[:0], first...)
	}
	return true
}

// peek waits until n bytes are unread, and returns them; fewer where no more
// come.
func (s *socket) peek(n int) []byte {
	for len(s.unread) < n && s.failed == nil {
		s.load()
	}
	return s.unread[:min(n, len(s.unread))]
}

const pingFrame, pongFrame = finalBit | websocket.PingMessage, finalBit | websocket.PongMessage

// pong takes a pong off the socket, where one is next and is there to its end. It
// waits for nothing.
func (s *socket) pong() bool {
	if len(s.unread) < 2 || s.unread[0] != pongFrame || s.unread[1] >= size16 {
		return false
	}
	size := 2 + int(s.unread[1])
	if len(s.unread) < size {
		return false
	}
	s.pass(size)
	return true
}

// control takes a ping or a pong off the socket, where one is next, and returns
// what it bears; nil where something else is next, or what is against the
// protocol, or the end: that is for who reads messages.
func (s *socket) control() (ping bool, data []byte) {
	header := s.peek(2)
	if len(header) < 2 || header[0] != pingFrame && header[0] != pongFrame || header[1] >= size16 {
		return false, nil
	}
	size := 2 + int(header[1])
	frame := s.peek(size)
	if len(frame) < size {
		return false, nil
	}
	ping = frame[0] == pingFrame
	data = append(make([]byte, 0, size-2), frame[2:]...)
	s.pass(size)
	return ping, data
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
		s.gathered = borrowBlock()
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
