package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// recorder keeps what Done was called with, by the number of the record.
type recorder struct {
	mu    sync.Mutex
	order []int
	got   map[int]bridge.Stored
}

func newRecorder() *recorder { return &recorder{got: make(map[int]bridge.Stored)} }

func (r *recorder) record(session string, n int, body []byte) *bridge.Record {
	return &bridge.Record{
		Subject: "wa.recv." + session,
		Header:  map[string][]string{"Nats-Msg-Id": {fmt.Sprintf("%s:%d", session, n)}},
		Body:    body,
		Done: func(s bridge.Stored) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.order = append(r.order, n)
			r.got[n] = s
		},
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order)
}

// inOrder checks that Done was called once for each of n records, in order.
func (r *recorder) inOrder(t *testing.T, n int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.order) != n {
		t.Errorf("Done was called %d times, want %d", len(r.order), n)
	}
	for i, got := range r.order {
		if got != i {
			t.Errorf("Done %d is of record %d", i, got)
			return
		}
	}
}

// streamInOrder checks that WA_RECV holds n records of a session, each once
// and in order.
func streamInOrder(t *testing.T, js jetstream.JetStream, session string, n int) {
	t.Helper()
	c, err := js.OrderedConsumer(t.Context(), "WA_RECV", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"wa.recv." + session}})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for i := range n {
		m, err := messages.Next(jetstream.NextMaxWait(long))
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if got, want := m.Headers().Get("Nats-Msg-Id"), fmt.Sprintf("%s:%d", session, i); got != want {
			t.Fatalf("record %d has id %s, want %s", i, got, want)
		}
		if meta, err := m.Metadata(); err != nil || i == n-1 && meta.NumPending != 0 {
			t.Fatalf("%d records after the last of %d (%v)", meta.NumPending, n, err)
		}
	}
}

func TestStoreKeepsOrderAndReportsDuplicates(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	store := b.NewStore("shop")
	r := newRecorder()
	const n = 5000
	for i := range n {
		if err := store.Put(t.Context(), r.record("shop", i, []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(t.Context(), r.record("shop", 7, nil)); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	again := r.got[7]
	r.order = r.order[:len(r.order)-1]
	r.mu.Unlock()
	r.inOrder(t, n)
	if !again.Duplicate || again.Sequence != 8 || again.Err != nil {
		t.Errorf("the answer to a repeat is %+v, want duplicate of 8", again)
	}
	streamInOrder(t, s.JetStream(t), "shop", n)
	if err := store.Put(t.Context(), r.record("shop", 1, nil)); !errors.Is(err, bridge.ErrClosed) {
		t.Errorf("Put after Close: %v, want ErrClosed", err)
	}
}

func TestStoreKeepsOrderWhileTheServerRestarts(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	const sessions, each = 4, 6000
	recorders := make([]*recorder, sessions)
	var wg sync.WaitGroup
	for i := range recorders {
		session := fmt.Sprintf("s%d", i)
		store, r := b.NewStore(session), newRecorder()
		recorders[i] = r
		wg.Go(func() {
			for n := range each {
				if err := store.Put(t.Context(), r.record(session, n, make([]byte, 100))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for restart := range 3 {
		target := (restart + 1) * each / 4
		bridgetest.Eventually(t, long, func() bool { return recorders[0].count() >= target }, "stuck at %d", target)
		s.Restart(t)
	}
	wg.Wait()
	for i, r := range recorders {
		bridgetest.Eventually(t, long, func() bool { return r.count() == each }, "session %d", i)
		r.inOrder(t, each)
		streamInOrder(t, s.JetStream(t), fmt.Sprintf("s%d", i), each)
	}
}

func TestStorePassesWhatIsTooLarge(t *testing.T) {
	s := bridgetest.NATS(t, bridgetest.MaxPayload(8<<10))
	b := open(t, s)
	js := s.JetStream(t)
	stream, err := js.Stream(t.Context(), "WA_RECV")
	if err != nil {
		t.Fatal(err)
	}
	smaller := stream.CachedInfo().Config
	smaller.MaxMsgSize = 4 << 10
	if _, err := js.UpdateStream(t.Context(), smaller); err != nil {
		t.Fatal(err)
	}
	store := b.NewStore("shop")
	r := newRecorder()
	// Record 4 is more than the server takes, record 7 more than the stream.
	sizes := map[int]int{4: 9 << 10, 7: 5 << 10}
	for i := range 10 {
		size := 10
		if large, ok := sizes[i]; ok {
			size = large
		}
		if err := store.Put(t.Context(), r.record("shop", i, make([]byte, size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.inOrder(t, 10)
	for i, got := range r.got {
		if large := errors.Is(got.Err, bridge.ErrTooLarge); large != (sizes[i] > 0) {
			t.Errorf("record %d: %+v", i, got)
		}
	}
}

func TestStoreBlocksWhenFullAndGivesUpOnClose(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.MaxRecords = 8 })
	store := b.NewStore("shop")
	r := newRecorder()
	s.Stop()
	for i := range 8 {
		if err := store.Put(t.Context(), r.record("shop", i, nil)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := store.Put(ctx, r.record("shop", 8, nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put into a full store: %v, want a time-out", err)
	}
	if err := store.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close with records left: %v, want a time-out", err)
	}
	r.inOrder(t, 8)
	for i, got := range r.got {
		if !errors.Is(got.Err, bridge.ErrClosed) {
			t.Errorf("record %d: %+v, want ErrClosed", i, got)
		}
	}
}
