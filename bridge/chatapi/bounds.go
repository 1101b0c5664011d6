package chatapi

import "encoding/binary"

// The parts of a WebSocket frame's header; RFC 6455, section 5.2.
const (
	finalBit   = 0x80
	opcodeBits = 0x0f
	maskBit    = 0x80
	sizeBits   = 0x7f
	size16     = 126 // the size is in the two bytes that follow
	size64     = 127 // in the eight bytes that follow
	// smallest of the opcodes of control frames; they may stand within a message.
	controlFrom = 0x8
)

// bounds follows what is read of a connection: first the heads of HTTP's
// answers, then WebSocket frames. It tells where the next of them ends.
type bounds struct {
	frames bool // the handshake is done
	text   bool // of a head: the line is not empty

	within bool     // a message has begun, and its last frame has not ended
	header [14]byte // of the frame, as far as it is read
	read   uint8    // of header; 0 between frames
	whole  bool     // header is
	left   uint64   // of the payload
}

// take counts p as read, but for what lies past the end of the frame or head
// that it begins in. It returns how much that leaves.
func (b *bounds) take(p []byte) int {
	if !b.frames {
		return b.takeHead(p)
	}
	n := 0
	for n < len(p) && !b.whole {
		b.header[b.read] = p[n]
		b.read++
		n++
		b.parse()
	}
	if !b.whole {
		return n
	}
	of := min(uint64(len(p)-n), b.left)
	if b.left -= of; b.left == 0 {
		if b.header[0]&opcodeBits < controlFrom {
			b.within = b.header[0]&finalBit == 0
		}
		b.read, b.whole = 0, false
	}
	return n + int(of)
}

// takeHead is take for a head, which an empty line ends.
func (b *bounds) takeHead(p []byte) int {
	for i, c := range p {
		switch {
		case c == '\n' && !b.text:
			return i + 1
		case c == '\n':
			b.text = false
		case c != '\r':
			b.text = true
		}
	}
	return len(p)
}

// parse looks whether the header is whole.
func (b *bounds) parse() {
	if b.read < 2 {
		return
	}
	length := 2
	size := b.header[1] & sizeBits
	switch size {
	case size16:
		length += 2
	case size64:
		length += 8
	}
	sized := length
	if b.header[1]&maskBit != 0 {
		length += 4
	}
	if int(b.read) < length {
		return
	}
	b.whole = true
	switch size {
	case size16:
		b.left = uint64(binary.BigEndian.Uint16(b.header[2:sized]))
	case size64:
		b.left = binary.BigEndian.Uint64(b.header[2:sized])
	default:
		b.left = uint64(size)
	}
}

// payload is how much of a payload is still to be read.
func (b *bounds) payload() uint64 { return b.left }
