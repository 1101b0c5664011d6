package chatapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/codec"
)

// The types of the protocol's frames.
const (
	typeReady   = "whatsapp.session.ready"
	typeMessage = "whatsapp.message."
	typeStatus  = "whatsapp.status."
	typeEvent   = "whatsapp.event."
	typeSend    = "whatsapp.send"
	typeResult  = "whatsapp.result"
	typeAck     = "whatsapp.ack"
	typeToken   = "whatsapp.token"
)

const (
	// prefixKept is how much is kept of a frame that is too large.
	prefixKept = 64 << 10
	// drainMost and drainTime bound what is read past of such a frame.
	drainMost = 256 << 20
	drainTime = time.Minute
)

// buffers are borrowed while a frame is read or written.
var buffers sync.Pool //nolint:gochecknoglobals // holds no state; 10,000 idle sessions share it

// frame is one message of the socket. Its data is borrowed until release.
type frame struct {
	data   []byte
	buffer *[]byte
	// reason says why it cannot be read as an event; then size and sum describe
	// the whole, where data is only its beginning.
	reason string
	size   int64
	sum    string
}

// release gives the frame's buffer back.
func (f *frame) release() { release(f.buffer, f.data) }

// borrow takes a buffer from the pool.
func borrow() *[]byte {
	if buffer, ok := buffers.Get().(*[]byte); ok {
		return buffer
	}
	return new([]byte)
}

// release gives a buffer back, as it has grown to data.
func release(buffer *[]byte, data []byte) {
	if cap(data) > prefixKept {
		return // too big to keep for the small ones
	}
	*buffer = data[:0]
	buffers.Put(buffer)
}

// whole reads one frame whole, or the beginning of one that is too large.
func (l *link) whole(kind int, r io.Reader) (frame, error) {
	f := frame{buffer: borrow()}
	var err error
	f.data, err = fill((*f.buffer)[:0], r)
	switch {
	case err == nil:
		if kind != websocket.TextMessage {
			f.reason = "a binary frame; events come as text"
		}
	case errors.Is(err, errTooLarge):
		err = l.drain(&f, r)
	}
	return f, err
}

// errTooLarge: there is more than a frame may hold.
var errTooLarge = errors.New("frame too large")

// fill appends what r holds to buf: at most codec.MaxFrame bytes, then
// errTooLarge.
func fill(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			if len(buf) > codec.MaxFrame {
				return buf, errTooLarge
			}
			larger := make([]byte, len(buf), min(max(2*cap(buf), 4<<10), codec.MaxFrame+1))
			copy(larger, buf)
			buf = larger
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// drain reads past the rest of a frame that is too large, and keeps its
// beginning, its size and its SHA-256.
func (l *link) drain(f *frame, r io.Reader) error {
	hash := sha256.New()
	hash.Write(f.data)
	f.size = int64(len(f.data))
	f.reason = "larger than a frame may be"
	kept := bytes.Clone(f.data[:prefixKept])
	rest := f.data
	f.data = kept
	began := time.Now()
	for {
		now := time.Now()
		if f.size > drainMost || now.Sub(began) > drainTime {
			return &fault{cause: causeProtocol, reason: "a frame has no end"}
		}
		l.hear(now)
		n, err := r.Read(rest)
		hash.Write(rest[:n])
		f.size += int64(n)
		if errors.Is(err, io.EOF) {
			f.sum = hex.EncodeToString(hash.Sum(nil))
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// findSequence looks for the attribute of that name in a frame that cannot be
// read, or only in its beginning; 0 where it is not found.
func findSequence(data []byte) uint64 {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return 0
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return 0
		}
		if name == "sequence" {
			var value string
			if decoder.Decode(&value) != nil {
				return 0
			}
			sequence, err := codec.ParseSequence(value)
			if err != nil {
				return 0
			}
			return sequence
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return 0
		}
	}
	return 0
}
