package simulator

import (
	"crypto/rand"
	"strconv"
	"time"
)

// dedupeFor is how long an accepted id is remembered.
const dedupeFor = 24 * time.Hour

// session is one business phone number: what it sent and the events that its
// bridge has not acknowledged yet. Simulator.mu guards it.
type session struct {
	cfg   SessionConfig
	epoch string
	conn  *conn // nil while nobody is connected
	conns int   // connections so far

	log     eventLog
	written uint64 // the highest sequence that any connection brought

	sent    map[string]*Message // by ref, for dedupeFor
	byID    map[string]*Message
	order   []*Message // as accepted
	dropped int        // messages of order that were forgotten
	repeats []Repeat
	loads   map[string]int // next index of each load
	room    chan struct{}  // closed and replaced when events were acknowledged; nil while nobody waits
	hooks   hookQueue
	posting int // updates on their way to the webhook
}

// event is one frame of the session, kept until it is acknowledged.
type event struct {
	sequence uint64
	frame    []byte
}

func newSession(c SessionConfig) *session {
	return &session{cfg: c, epoch: rand.Text()[:12], sent: map[string]*Message{}, byID: map[string]*Message{}, loads: map[string]int{}}
}

// eventLog numbers events and keeps them until they are acknowledged.
type eventLog struct {
	last   uint64 // the last sequence given
	acked  uint64
	events []event // those above acked
}

func (l *eventLog) append(frame []byte) {
	l.events = append(l.events, event{sequence: l.last, frame: frame})
}

// ack forgets everything up to sequence.
func (l *eventLog) ack(sequence uint64) {
	n := l.index(sequence + 1)
	clear(l.events[:n])
	l.events = l.events[n:]
	l.acked = sequence
}

// index finds the first event at or above sequence. Sequences are dense but
// for gaps made on purpose.
func (l *eventLog) index(sequence uint64) int {
	lo, hi := 0, len(l.events)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if l.events[mid].sequence < sequence {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// occurrence is something to tell the business.
type occurrence struct {
	kind    string // "message", "status", "event"
	name    string // message type, status or field
	peer    string // the conversation
	inner   []byte // the message, status or value object
	contact []byte // of a message; may be nil
	// data is the whole data where somebody gave it byte for byte.
	data        []byte
	traceparent string
}

// emit tells the business. Call it with mu held.
func (s *Simulator) emit(sess *session, o occurrence) uint64 {
	if sess.cfg.Webhook != nil {
		s.hooks.add(sess, o)
		return 0
	}
	l := &sess.log
	l.last++
	if s.faultHit(FaultLostSequence, sess.cfg.ID, o.peer) != nil {
		l.last++
	}
	frame := make([]byte, 0, 420+len(o.inner)+len(o.contact)+len(o.data))
	frame = append(frame, `{"specversion":"1.0","id":"`...)
	frame = append(frame, sess.epoch...)
	frame = append(frame, '-')
	frame = strconv.AppendUint(frame, l.last, 10)
	frame = append(frame, `","source":"/whatsapp/`...)
	frame = append(frame, sess.cfg.ID...)
	frame = append(frame, `","type":`...)
	frame = appendText(frame, "whatsapp."+o.kind+"."+o.name)
	if o.peer != "" {
		frame = append(frame, `,"subject":`...)
		frame = appendText(frame, o.peer)
	}
	frame = append(frame, `,"time":"`...)
	frame = time.Now().UTC().AppendFormat(frame, time.RFC3339Nano)
	frame = append(frame, `","datacontenttype":"application/json","sequence":"`...)
	frame = appendSequence(frame, l.last)
	if o.traceparent != "" {
		frame = append(frame, `","traceparent":"`...)
		frame = append(frame, o.traceparent...)
	}
	frame = append(frame, `","data":`...)
	frame = sess.appendData(frame, o)
	frame = append(frame, '}')
	l.append(frame)
	s.state.event(sess, l.last, frame)
	s.stats.Events++
	if sess.conn != nil {
		sess.conn.poke()
	}
	return l.last
}

// appendSequence writes 20 digits.
func appendSequence(dst []byte, n uint64) []byte {
	var digits [20]byte
	for i := range digits {
		digits[len(digits)-1-i] = '0' + byte(n%10)
		n /= 10
	}
	return append(dst, digits[:]...)
}

// appendData writes the data of an occurrence, inner objects as they came.
func (sess *session) appendData(dst []byte, o occurrence) []byte {
	switch {
	case o.data != nil:
		return append(dst, o.data...)
	case o.kind == "status":
		return append(dst, o.inner...)
	case o.kind == "event":
		dst = append(dst, `{"field":`...)
		dst = appendText(dst, o.name)
		dst = append(dst, `,"value":`...)
		dst = append(dst, o.inner...)
		return append(dst, '}')
	}
	dst = append(dst, `{"message":`...)
	dst = append(dst, o.inner...)
	if o.contact != nil {
		dst = append(dst, `,"contact":`...)
		dst = append(dst, o.contact...)
	}
	dst = append(dst, `,"metadata":`...)
	dst = sess.appendMetadata(dst)
	return append(dst, '}')
}

func (sess *session) appendMetadata(dst []byte) []byte {
	dst = append(dst, `{"display_phone_number":`...)
	dst = appendText(dst, sess.cfg.DisplayPhoneNumber)
	dst = append(dst, `,"phone_number_id":`...)
	dst = appendText(dst, sess.cfg.PhoneNumberID)
	return append(dst, '}')
}

// drained wakes who waits for events to be acknowledged.
func (sess *session) drained() {
	if sess.room != nil {
		close(sess.room)
		sess.room = nil
	}
}

// forget drops sends that are too old to be remembered.
func (sess *session) forget(now time.Time) {
	n := 0
	for n < len(sess.order) && now.Sub(sess.order[n].At) > dedupeFor {
		m := sess.order[n]
		if m.Ref != "" && sess.sent[m.Ref] == m {
			delete(sess.sent, m.Ref)
		}
		delete(sess.byID, m.ID)
		n++
	}
	if n > 0 {
		clear(sess.order[:n])
		sess.order = sess.order[n:]
		sess.dropped += n
	}
}
