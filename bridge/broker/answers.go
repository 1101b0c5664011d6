package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// answers hands JetStream's answers to the stores that wait for them. One
// subscription serves every store: the reply subject is
// <inbox>.<store>.<record>, or <inbox>.<store>.<record>-<try> for a batch that
// begins with this record, all numbers in base 36.
type answers struct {
	prefix string // with its last dot
	token  string // unique to this process

	mu     sync.RWMutex
	stores map[uint64]*Store
	last   uint64
}

func newAnswers() *answers { return &answers{stores: make(map[uint64]*Store)} }

func (a *answers) subscribe(nc *nats.Conn) error {
	inbox := nc.NewInbox()
	a.prefix = inbox + "."
	a.token = inbox[strings.LastIndexByte(inbox, '.')+1:]
	sub, err := nc.Subscribe(inbox+".*.*", a.receive)
	if err != nil {
		return fmt.Errorf("subscribing to JetStream's answers: %w", err)
	}
	// What is unanswered is bounded by each store; a dropped answer would stall
	// it for a time-out.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("subscribing to JetStream's answers: %w", err)
	}
	return nil
}

// add gives a store its number.
func (a *answers) add(s *Store) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.stores[a.last] = s
	return a.last
}

// reply appends the reply subject of a record.
func (a *answers) reply(to []byte, store, record uint64) []byte {
	to = strconv.AppendUint(append(to, a.prefix...), store, 36)
	return strconv.AppendUint(append(to, '.'), record, 36)
}

func (a *answers) remove(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.stores, id)
}

func (a *answers) all() []*Store {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]*Store, 0, len(a.stores))
	for _, s := range a.stores {
		all = append(all, s)
	}
	return all
}

func (a *answers) receive(m *nats.Msg) {
	if len(m.Subject) <= len(a.prefix) {
		return
	}
	store, record, _ := strings.Cut(m.Subject[len(a.prefix):], ".")
	record, try, batch := strings.Cut(record, "-")
	id, errID := strconv.ParseUint(store, 36, 64)
	n, errN := strconv.ParseUint(record, 36, 64)
	if errID != nil || errN != nil {
		return
	}
	a.mu.RLock()
	s := a.stores[id]
	a.mu.RUnlock()
	switch {
	case s == nil:
	case !batch:
		s.answered(n, readAnswer(m))
	default:
		if number, err := strconv.ParseUint(try, 36, 64); err == nil {
			s.batchAnswered(n, number, readAnswer(m))
		}
	}
}

// disconnected: what is unanswered now will never be.
func (a *answers) disconnected() {
	for _, s := range a.all() {
		s.interrupted()
	}
}

func (a *answers) reconnected() {
	for _, s := range a.all() {
		s.retryNow()
	}
}

func (a *answers) closeStores(ctx context.Context) error {
	var wg sync.WaitGroup
	stores := a.all()
	errs := make([]error, len(stores))
	for i, s := range stores {
		wg.Go(func() { errs[i] = s.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// answer is what JetStream said to one publish.
type answer struct {
	sequence  uint64 // of a batch: that of its last record
	duplicate bool
	count     uint64 // of a batch: its records
	err       error
}

// errNoStream: no server that takes the subject answered. It is what a stream
// without a leader looks like.
var errNoStream = errors.New("no stream answers")

func readAnswer(m *nats.Msg) answer {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return answer{err: errNoStream}
	}
	if sequence, ok := plainAck(m.Data); ok {
		return answer{sequence: sequence}
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Count uint64              `json:"count"`
		jetstream.PubAck
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return answer{err: fmt.Errorf("reading JetStream's answer: %w", err)}
	case ack.Error != nil:
		return answer{err: ack.Error}
	case ack.Sequence == 0:
		return answer{err: errors.New("JetStream's answer names no sequence")}
	}
	return answer{sequence: ack.Sequence, duplicate: ack.Duplicate, count: ack.Count}
}

// plainAck reads {"stream":"NAME", "seq":N} without the cost of encoding/json;
// anything else is left to it.
func plainAck(data []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"stream":"`))
	if !ok {
		return 0, false
	}
	i := bytes.IndexByte(rest, '"')
	if i < 0 {
		return 0, false
	}
	rest = bytes.TrimLeft(rest[i+1:], ", ")
	if rest, ok = bytes.CutPrefix(rest, []byte(`"seq":`)); !ok {
		return 0, false
	}
	var n uint64
	for i, c := range rest {
		switch {
		case c >= '0' && c <= '9' && i < 19:
			n = n*10 + uint64(c-'0')
		default:
			return n, c == '}' && i == len(rest)-1 && n > 0
		}
	}
	return 0, false
}
