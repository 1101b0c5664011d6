package simulator

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stateLog keeps what must survive a kill of the process: a file of records
// that only grows, and segments of events that go when all in them is
// acknowledged. It is flushed to the system, not to the disk, before anybody is
// told: a kill loses nothing, a power cut may. A nil stateLog keeps nothing.
type stateLog struct {
	mu       sync.Mutex // guards the buffers
	records  []byte
	events   []byte
	segments []*segment // oldest first; the last is written to

	writing sync.Mutex // guards the files; taken before mu
	dir     string
	file    *os.File
	failed  error
}

// segment is one file of events.
type segment struct {
	number int
	file   *os.File // nil for those of earlier runs
	size   int
	last   map[string]uint64 // by session: the highest sequence in it
}

// segmentSize is when a segment is full.
const segmentSize = 32 << 20

// The kinds of records.
const (
	recSession  = 'n' // session, epoch, settings
	recSent     = 's' // see sentFields
	recProgress = 'p' // session, message id, status
	recAck      = 'a' // session, sequence
	recLoad     = 'l' // session, load, next index
	recToken    = 't' // value, client, scopes, issued, expires, ttl, family
	recRefresh  = 'r' // value, client, scopes, family, used
	recUser     = 'u' // settings
	recEvent    = 'e' // session, epoch, sequence, frame
)

// appendRecord writes one record: its length, its kind, its fields.
func appendRecord[T string | []byte](dst []byte, kind byte, fields ...T) []byte {
	size := 1
	for _, f := range fields {
		size += uvarintLen(len(f)) + len(f)
	}
	dst = binary.AppendUvarint(dst, uint64(size))
	return appendFields(append(dst, kind), fields...)
}

func appendFields[T string | []byte](dst []byte, fields ...T) []byte {
	for _, f := range fields {
		dst = binary.AppendUvarint(dst, uint64(len(f)))
		dst = append(dst, f...)
	}
	return dst
}

func uvarintLen(n int) int {
	size := 1
	for n >= 0x80 {
		n >>= 7
		size++
	}
	return size
}

func (l *stateLog) record(kind byte, fields ...string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = appendRecord(l.records, kind, fields...)
}

func (l *stateLog) session(sess *session) {
	if l == nil {
		return
	}
	cfg, err := json.Marshal(sess.cfg)
	if err != nil {
		return // strings and numbers always marshal
	}
	l.record(recSession, sess.cfg.ID, sess.epoch, string(cfg))
	l.mu.Lock()
	defer l.mu.Unlock()
	if sess.log.last == 0 {
		for _, seg := range l.segments {
			delete(seg.last, sess.cfg.ID) // of an epoch that is over
		}
	}
}

func (l *stateLog) user(u User) {
	if l == nil {
		return
	}
	settings, err := json.Marshal(u)
	if err != nil {
		return // strings and booleans always marshal
	}
	l.record(recUser, string(settings))
}

func (l *stateLog) sent(m *Message) {
	if l == nil {
		return
	}
	l.record(recSent, sentFields(m)...)
}

func sentFields(m *Message) []string {
	return []string{
		m.Session, m.ID, m.Number, m.Type, m.Ref, m.TraceParent, m.Callback, m.kind, strconv.FormatInt(m.At.UnixNano(), 10),
		strconv.Itoa(m.Error), strings.Join(m.participants, " "), m.Status,
	}
}

func (l *stateLog) progress(m *Message) { l.record(recProgress, m.Session, m.ID, m.Status) }

func (l *stateLog) load(sess *session, name string, next int) {
	if l != nil {
		l.record(recLoad, sess.cfg.ID, name, strconv.Itoa(next))
	}
}

func (l *stateLog) token(t *token) {
	if l == nil {
		return
	}
	l.record(recToken, t.value, t.client, strings.Join(t.scopes, " "), unixNano(t.issued), unixNano(t.expires), t.ttl.String(), t.family)
}

// refresh notes a refresh token; r nil says that it is gone.
func (l *stateLog) refresh(value string, r *refreshToken) {
	switch {
	case l == nil:
	case r == nil:
		l.record(recRefresh, value, "", "", "", "")
	default:
		l.record(recRefresh, value, r.client, strings.Join(r.scopes, " "), r.family, strconv.FormatBool(r.used))
	}
}

func unixNano(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixNano(), 10)
}

func (l *stateLog) event(sess *session, sequence uint64, frame []byte) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = appendRecord(l.events, recEvent, []byte(sess.cfg.ID), []byte(sess.epoch), strconv.AppendUint(nil, sequence, 10), frame)
	l.segments[len(l.segments)-1].last[sess.cfg.ID] = sequence
}

func (l *stateLog) ack(sess *session, sequence uint64) {
	if l == nil {
		return
	}
	l.record(recAck, sess.cfg.ID, strconv.FormatUint(sequence, 10))
}

// flush hands everything to the system. It does nothing where nothing is new.
func (l *stateLog) flush() error {
	if l == nil {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	events, records := l.events, l.records
	l.events, l.records = nil, nil
	seg := l.segments[len(l.segments)-1]
	l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	// Events first: a message is never further than its events say.
	_, err1 := seg.file.Write(events)
	_, err2 := l.file.Write(records)
	if l.failed = errors.Join(err1, err2); l.failed != nil {
		return fmt.Errorf("writing state: %w", l.failed)
	}
	if seg.size += len(events); seg.size > segmentSize {
		l.failed = l.rotate(seg.number + 1)
	}
	return l.failed
}

// rotate starts a segment. Call it with writing held.
func (l *stateLog) rotate(number int) error {
	name := filepath.Join(l.dir, segmentName(number))
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("starting segment: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last := map[string]uint64{}
	if n := len(l.segments); n > 0 {
		last = maps.Clone(l.segments[n-1].last) // what waits in the buffer was counted there
	}
	l.segments = append(l.segments, &segment{number: number, file: file, last: last})
	return nil
}

func segmentName(number int) string { return fmt.Sprintf("events-%08d.log", number) }

// prune removes old segments whose events are all acknowledged.
func (l *stateLog) prune(acked func(session string) uint64) error {
	if l == nil {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.segments) > 1 {
		oldest := l.segments[0]
		for session, last := range oldest.last {
			if last > acked(session) {
				return nil
			}
		}
		if oldest.file != nil {
			if err := oldest.file.Close(); err != nil {
				return fmt.Errorf("closing segment: %w", err)
			}
		}
		if err := os.Remove(filepath.Join(l.dir, segmentName(oldest.number))); err != nil {
			return fmt.Errorf("removing segment: %w", err)
		}
		l.segments = l.segments[1:]
	}
	return nil
}

func (l *stateLog) close() error {
	err := l.flush()
	l.writing.Lock()
	defer l.writing.Unlock()
	for _, seg := range l.segments {
		if seg.file != nil {
			err = errors.Join(err, seg.file.Close())
		}
	}
	return errors.Join(err, l.file.Close())
}
