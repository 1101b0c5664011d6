package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// each is record numbers, one behind the other.
func each(from, to int) []int {
	numbers := make([]int, 0, to-from)
	for n := from; n < to; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

// fill puts records into the queue of a store at once, as they come while an
// answer is waited for, and closes it.
func fill(t *testing.T, s *Store, records ...*bridge.Record) {
	t.Helper()
	s.mu.Lock()
	for _, r := range records {
		s.queue = append(s.queue, entry{record: r, size: recordSize(r)})
		s.bytes += recordSize(r)
	}
	s.advance()
	s.unlock()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStoreWritesBatchesToACopiedStream(t *testing.T) {
	c := bridgetest.Cluster(t, 3)
	b := open(t, c)
	js := c.JetStream(t)
	recv, err := js.Stream(t.Context(), "WA_RECV")
	if err != nil {
		t.Fatal(err)
	}

	t.Run("each record hears its own sequence", func(t *testing.T) {
		s, r := b.NewStore("plain"), newRecorder()
		const n = 1200
		records := make([]*bridge.Record, 0, n)
		for i := range n {
			records = append(records, r.record("plain", i, []byte("x")))
		}
		fill(t, s, records...)
		r.inOrder(t, n)
		streamInOrder(t, js, "plain", n)
		if s.batches < 3 { // more where a slow machine answers late
			t.Errorf("%d batches for %d records, want 3", s.batches, n)
		}
		for _, i := range []int{0, 1, 499, 500, 777, n - 1} {
			m, err := recv.GetMsg(t.Context(), r.got[i].Sequence)
			if err != nil || m.Header.Get("Nats-Msg-Id") != fmt.Sprintf("plain:%d", i) {
				t.Errorf("record %d: %+v, and there stands %v (%v)", i, r.got[i], m, err)
			}
		}
		if len(records[0].Header) != 1 {
			t.Errorf("the record was changed: %v", records[0].Header)
		}
	})

	t.Run("what stands already is told apart", func(t *testing.T) {
		first := newRecorder()
		fill(t, b.NewStore("again"), first.record("again", 40, nil), first.record("again", 41, nil), first.record("again", 90, nil))
		s, r := b.NewStore("again"), newRecorder()
		var records []*bridge.Record
		for _, i := range slices.Concat(each(0, 100), each(0, 3)) { // three come twice
			records = append(records, r.record("again", i, nil))
		}
		fill(t, s, records...)
		if want := slices.Concat(each(0, 100), each(0, 3)); !slices.Equal(r.order, want) {
			t.Errorf("Done was called in the order %v", r.order)
		}
		for i, got := range r.got {
			original := first.got[i].Sequence
			switch i {
			case 40, 41, 90:
				if !got.Duplicate || got.Sequence != original {
					t.Errorf("record %d: %+v, want a duplicate of %d", i, got, original)
				}
			case 0, 1, 2:
				if !got.Duplicate || got.Sequence == 0 {
					t.Errorf("the second record %d: %+v, want a duplicate", i, got)
				}
			default:
				if got.Sequence == 0 || got.Err != nil {
					t.Errorf("record %d: %+v", i, got)
				}
			}
		}
		if s.batches < 3 {
			t.Errorf("%d batches", s.batches)
		}
	})

	t.Run("dead letters and what is too large", func(t *testing.T) {
		s, r := b.NewStore("mixed"), newRecorder()
		var records []*bridge.Record
		for i := range 60 {
			record := r.record("mixed", i, nil)
			switch {
			case i == 30:
				record.Body = make([]byte, 2<<20)
			case i == 45:
				record.Header["X"] = []string{string(make([]byte, 0, 1)) + fmt.Sprintf("%065530d", 0)}
			case i%20 >= 10:
				record.Subject = "wa.dead.mixed"
			}
			records = append(records, record)
		}
		fill(t, s, records...)
		r.inOrder(t, 60)
		for i, got := range r.got {
			if large := i == 30 || i == 45; errors.Is(got.Err, bridge.ErrTooLarge) != large {
				t.Errorf("record %d: %+v", i, got)
			}
		}
		dead, err := js.Stream(t.Context(), "WA_DEAD")
		if err != nil {
			t.Fatal(err)
		}
		if n := dead.CachedInfo().State.Msgs; n != 29 {
			t.Errorf("%d dead letters, want 29", n)
		}
		if s.batches < 6 {
			t.Errorf("%d batches", s.batches)
		}
	})

	t.Run("two replicas store the same", func(t *testing.T) {
		other := open(t, c)
		const n = 400
		var wg sync.WaitGroup
		recorders := []*recorder{newRecorder(), newRecorder()}
		for i, broker := range []*Broker{b, other} {
			s, r := broker.NewStore("both"), recorders[i]
			wg.Go(func() {
				for k := range n {
					if err := s.Put(t.Context(), r.record("both", k, nil)); err != nil {
						t.Error(err)
						return
					}
				}
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		streamInOrder(t, js, "both", n)
		for i := range n {
			x, y := recorders[0].got[i], recorders[1].got[i]
			if x.Sequence == 0 || x.Sequence != y.Sequence {
				t.Errorf("record %d: %+v for one, %+v for the other", i, x, y)
			}
		}
	})
	t.Run("a stream that takes none", func(t *testing.T) {
		info, err := recv.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		config := info.Config
		config.AllowAtomicPublish = false
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		s, r := b.NewStore("single"), newRecorder()
		var records []*bridge.Record
		for i := range 100 {
			records = append(records, r.record("single", i, nil))
		}
		fill(t, s, records...)
		r.inOrder(t, 100)
		streamInOrder(t, js, "single", 100)
		if s.batches != 1 {
			t.Errorf("%d batches to a stream that takes none, want 1 try", s.batches)
		}
		allows := func() bool {
			info, err := recv.Info(t.Context())
			return err == nil && info.Config.AllowAtomicPublish
		}
		open(t, c, func(c *Config) { c.Manage = false })
		if allows() {
			t.Error("a bridge that does not manage streams changed one")
		}
		open(t, c)
		if !allows() {
			t.Error("the stream was not changed")
		}
		if err := b.Health(t.Context()); err != nil || !b.batches.recv.Load() {
			t.Errorf("the broker does not see that the stream takes batches again (%v)", err)
		}
	})
}

func TestALateAnswerToABatch(t *testing.T) {
	server := bridgetest.NATS(t)
	b := open(t, server)
	b.replicated.Store(true) // as far as stores know
	if err := server.JetStream(t).DeleteStream(t.Context(), "WA_RECV"); err != nil {
		t.Fatal(err)
	}
	s, r := b.NewStore("shop"), newRecorder()
	const n = 10
	s.mu.Lock()
	for i := range n {
		s.queue = append(s.queue, entry{record: r.record("shop", i, nil)})
	}
	s.advance()
	s.unlock()
	// No stream answers, so the first is tried alone.
	bridgetest.Eventually(t, long, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.phase == alone && s.tries > 0
	}, "the store does not notice")
	s.batchAnswered(0, 1, answer{err: &jetstream.APIError{ErrorCode: codeBatchDuplicate}})
	s.batchAnswered(0, 1, answer{sequence: 1 << 40}) // of what knows no batches
	if r.count() != 0 || s.limit != batchRecords {
		t.Errorf("a refusal of a try that was given up counts: %d records ended, limit %d", r.count(), s.limit)
	}
	s.batchAnswered(0, 1, answer{sequence: 107, count: n})
	s.batchAnswered(0, 1, answer{sequence: 107, count: n}) // once more
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.inOrder(t, n)
	for i, got := range r.got {
		if got != (bridge.Stored{Sequence: uint64(98 + i)}) {
			t.Errorf("record %d: %+v", i, got)
		}
	}
}

func TestWhatSomeoneElseStoresAtThisMomentIsNoTroubleForAWhile(t *testing.T) {
	a := newAlarm()
	s := &Store{broker: open(t, bridgetest.NATS(t), func(c *Config) { c.Logger = slog.New(a) })}
	s.mu.Lock()
	defer s.mu.Unlock()
	inProcess := &jetstream.APIError{ErrorCode: codeInProcess}
	s.fail(inProcess)
	s.phase = alone
	for range patientTries {
		s.fail(inProcess)
	}
	if wait := time.Until(s.retryAt); a.warnings.Load() != 0 || wait > maxBackoff {
		t.Errorf("%d warnings, and the next try in %v", a.warnings.Load(), wait)
	}
	s.fail(inProcess)
	s.fail(inProcess)
	if n := a.warnings.Load(); n != 1 {
		t.Errorf("%d warnings where it does not end, want 1", n)
	}
}
