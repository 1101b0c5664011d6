package inbound_test

import (
	"context"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wabridge/bridge"
	"wabridge/bridge/inbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const session = "shop"

// The fakes are functions.
type (
	findFunc  func(ctx context.Context, session string, since time.Time, msgID string) (bool, error)
	spillFunc func(ctx context.Context, name string, r io.Reader) (string, error)
	putFunc   func(ctx context.Context, r *bridge.Record) error
)

func (f findFunc) FindRecv(ctx context.Context, session string, since time.Time, msgID string) (bool, error) {
	return f(ctx, session, since, msgID)
}

func (f spillFunc) Put(ctx context.Context, name string, r io.Reader) (string, error) {
	return f(ctx, name, r)
}

func (f putFunc) Put(ctx context.Context, r *bridge.Record) error { return f(ctx, r) }

// memory is a store that answers when it is told to.
type memory struct {
	mu      sync.Mutex
	records []*bridge.Record
	seen    int // how many were answered
}

func (m *memory) Put(_ context.Context, r *bridge.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = append(m.records, kept(r))
	return nil
}

// answer answers the oldest record that waits.
func (m *memory) answer(st bridge.Stored) {
	m.mu.Lock()
	r := m.records[m.seen]
	m.seen++
	if st.Sequence == 0 && st.Err == nil {
		st.Sequence = uint64(m.seen)
	}
	m.mu.Unlock()
	r.Done(st)
}

// kept is a copy of r that outlives its Done.
func kept(r *bridge.Record) *bridge.Record {
	c := *r
	c.Header = maps.Clone(r.Header)
	return &c
}

// prompt is a store that answers within Put.
func prompt(records *[]*bridge.Record) putFunc {
	return func(_ context.Context, r *bridge.Record) error {
		*records = append(*records, kept(r))
		r.Done(bridge.Stored{Sequence: uint64(len(*records))})
		return nil
	}
}

// acks collects what an Acker hears.
type acks struct {
	mu   sync.Mutex
	ins  []*bridge.Inbound
	errs []error
}

func (a *acks) Stored(in *bridge.Inbound, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ins = append(a.ins, in)
	a.errs = append(a.errs, err)
}

func (a *acks) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.ins)
}

// config is complete; the test replaces what it is about.
func config(t testing.TB, store bridge.Store) inbound.Config {
	t.Helper()
	names, err := bridge.NewNames(bridge.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return inbound.Config{Session: session, Store: store, Env: &inbound.Env{
		Names: names,
		Found: findFunc(func(context.Context, string, time.Time, string) (bool, error) { return false, nil }),
		Spill: spillFunc(func(_ context.Context, name string, r io.Reader) (string, error) {
			_, err := io.Copy(io.Discard, r)
			return name, err
		}),
	}}
}

func newSession(t testing.TB, cfg inbound.Config) *inbound.Session {
	t.Helper()
	s, err := inbound.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// receive fails the test where in is not taken.
func receive(t testing.TB, s *inbound.Session, in *bridge.Inbound) {
	t.Helper()
	if err := s.Receive(t.Context(), in); err != nil {
		t.Fatalf("receiving: %v", err)
	}
}

// one gives in to a session with a prompt store and returns the record.
func one(t testing.TB, in *bridge.Inbound) *bridge.Record {
	t.Helper()
	var records []*bridge.Record
	heard := new(acks)
	in.Acker = heard
	receive(t, newSession(t, config(t, prompt(&records))), in)
	if len(records) != 1 {
		t.Fatalf("got %d records, want 1", len(records))
	}
	if len(heard.ins) != 1 || heard.ins[0] != in || heard.errs[0] != nil {
		t.Fatalf("the acker heard %v, %v; want that it is stored, once", heard.ins, heard.errs)
	}
	return records[0]
}

// check compares headers; an empty value means that there is none.
func check(t testing.TB, r *bridge.Record, want map[string]string) {
	t.Helper()
	for name, value := range want {
		got := ""
		if v := r.Header[name]; len(v) > 0 {
			got = v[0]
		}
		if got != value {
			t.Errorf("header %s: got %q, want %q", name, got, value)
		}
	}
}

const (
	parent   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	wamid    = "wamid.HBgLMTU1NTAxNDIyMzMVAgASGBQzQTAwMDAwMDAwMDAwMDAwMDAwMAA="
	message  = `{"message":{"from":"15550142233","id":"` + wamid + `","timestamp":"1795430000","type":"text","text":{"body":"thanks"}},"contact":{"profile":{"name":"Marta"},"wa_id":"15550142233"},"metadata":{"display_phone_number":"15550199001","phone_number_id":"880090070060050"}}`
	statusOf = `{"id":"` + wamid + `","status":"delivered","timestamp":"1795430005","recipient_id":"15550142233"}`
)
