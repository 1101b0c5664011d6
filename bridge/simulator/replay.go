package simulator

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const recordsFile = "records.log"

// openState reads back what an earlier simulator knew, writes it down afresh
// and goes on from there. Nothing else runs yet.
func (s *Simulator) openState(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("opening state: %w", err)
	}
	path := filepath.Join(dir, recordsFile)
	err := readRecords(path, s.replay)
	if err != nil {
		return fmt.Errorf("opening state: %w", err)
	}
	l := &stateLog{dir: dir}
	names, err := filepath.Glob(filepath.Join(dir, "events-*.log"))
	if err != nil {
		return fmt.Errorf("opening state: %w", err)
	}
	slices.Sort(names)
	number := 0
	for _, name := range names {
		if _, err := fmt.Sscanf(filepath.Base(name), "events-%d.log", &number); err != nil {
			return fmt.Errorf("opening state: %s: %w", name, err)
		}
		seg := &segment{number: number, last: map[string]uint64{}}
		if err := readRecords(name, func(kind byte, f [][]byte) { s.replayEvent(seg, kind, f) }); err != nil {
			return fmt.Errorf("opening state: %w", err)
		}
		l.segments = append(l.segments, seg)
	}
	if err := l.rotate(number + 1); err != nil {
		return fmt.Errorf("opening state: %w", err)
	}
	if l.file, err = s.rewrite(l, path); err != nil {
		return fmt.Errorf("opening state: %w", err)
	}
	s.state = l
	return s.pruneState()
}

// rewrite puts down what is known now in a new file, in place of the old one.
func (s *Simulator) rewrite(l *stateLog, path string) (*os.File, error) {
	for _, u := range s.users {
		l.user(u.User)
	}
	for _, sess := range s.sessions {
		l.session(sess)
		l.ack(sess, sess.log.acked)
		for name, next := range sess.loads {
			l.load(sess, name, next)
		}
		for _, m := range sess.order {
			l.sent(m)
		}
	}
	for _, t := range s.tokens.access {
		l.token(t)
	}
	for value, r := range s.tokens.refresh {
		l.refresh(value, r)
	}
	if err := os.WriteFile(path+".new", l.records, 0o600); err != nil {
		return nil, fmt.Errorf("writing records: %w", err)
	}
	l.records = nil
	if err := os.Rename(path+".new", path); err != nil {
		return nil, fmt.Errorf("writing records: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening records: %w", err)
	}
	return file, nil
}

// readRecords calls fn with each whole record of a file. What a kill left
// half-written at its end is not one. Fields are fn's to keep.
func readRecords(path string, fn func(kind byte, fields [][]byte)) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading records: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	r := bufio.NewReaderSize(file, 1<<20)
	for {
		size, err := binary.ReadUvarint(r)
		if err != nil || size == 0 || size > 64<<20 {
			return nil
		}
		record := make([]byte, size)
		if _, err := io.ReadFull(r, record); err != nil {
			return nil
		}
		if fields, ok := splitRecord(record[1:]); ok {
			fn(record[0], fields)
		}
	}
}

func splitRecord(b []byte) (fields [][]byte, ok bool) {
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		fields = append(fields, b[n:n+int(size)])
		b = b[n+int(size):]
	}
	return fields, true
}

// replay takes one record back in.
func (s *Simulator) replay(kind byte, raw [][]byte) {
	f := make([]string, max(len(raw), 12))
	for i := range raw {
		f[i] = string(raw[i])
	}
	sess := s.sessions[f[0]]
	switch {
	case kind == recSession:
		s.replaySession(f)
	case kind == recUser:
		var u User
		if json.Unmarshal(raw[0], &u) == nil && u.Number != "" {
			s.user(u.Number).User = u
		}
	case kind == recToken:
		s.replayToken(f)
	case kind == recRefresh:
		delete(s.tokens.refresh, f[0])
		if f[1] != "" {
			s.tokens.refresh[f[0]] = &refreshToken{client: f[1], scopes: strings.Fields(f[2]), family: f[3], used: f[4] == "true"}
		}
	case sess == nil:
	case kind == recSent:
		s.remember(sess, &Message{
			Session: f[0], ID: f[1], Number: f[2], Type: f[3], Ref: f[4], TraceParent: f[5], Callback: f[6], kind: f[7],
			At: timeOf(f[8]), Error: int(integer(f[9])), participants: strings.Fields(f[10]), Status: f[11], connection: -1,
		})
	case kind == recProgress:
		if m := sess.byID[f[1]]; m != nil {
			m.Status = f[2]
		}
	case kind == recAck:
		sess.log.acked = uint64(integer(f[1]))
		sess.log.last = max(sess.log.last, sess.log.acked)
	case kind == recLoad:
		sess.loads[f[1]] = int(integer(f[2]))
	}
}

func (s *Simulator) replaySession(f []string) {
	var cfg SessionConfig
	if json.Unmarshal([]byte(f[2]), &cfg) != nil {
		return
	}
	sess := s.sessions[f[0]]
	if sess == nil {
		sess = newSession(cfg)
		s.sessions[f[0]] = sess
	}
	sess.cfg = cfg
	if sess.epoch != f[1] {
		sess.epoch, sess.log = f[1], eventLog{}
	}
}

func (s *Simulator) replayToken(f []string) {
	delete(s.tokens.access, f[0])
	ttl, err := time.ParseDuration(f[5])
	if f[3] == "0" || err != nil {
		return // it was revoked
	}
	s.tokens.access[f[0]] = &token{
		value: f[0], client: f[1], scopes: strings.Fields(f[2]), issued: timeOf(f[3]), expires: timeOf(f[4]), ttl: ttl, family: f[6],
	}
}

func (s *Simulator) replayEvent(seg *segment, kind byte, f [][]byte) {
	if kind != recEvent || len(f) != 4 {
		return
	}
	sess := s.sessions[string(f[0])]
	if sess == nil || sess.epoch != string(f[1]) {
		return
	}
	sequence := uint64(integer(string(f[2])))
	seg.last[sess.cfg.ID] = sequence
	sess.log.last = max(sess.log.last, sequence)
	if sequence > sess.log.acked {
		sess.log.events = append(sess.log.events, event{sequence: sequence, frame: f[3]})
	}
}

// resume sends what was under way on its way again. Call it with mu held.
func (s *Simulator) resume() {
	for _, sess := range s.sessions {
		sess.written = sess.log.last // it may have been
		s.hooks.restore(sess)
		for _, m := range sess.order {
			s.start(sess, m)
		}
	}
}

// pruneState drops segments that nobody needs any more.
func (s *Simulator) pruneState() error {
	if s.state == nil {
		return nil
	}
	s.mu.Lock()
	acked := make(map[string]uint64, len(s.sessions))
	for id, sess := range s.sessions {
		acked[id] = sess.log.acked
	}
	s.mu.Unlock()
	return s.state.prune(func(session string) uint64 { return acked[session] })
}

func integer(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

func timeOf(s string) time.Time {
	if n := integer(s); n > 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}
