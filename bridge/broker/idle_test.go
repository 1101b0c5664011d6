package broker

import (
	"strconv"
	"sync"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// TestIdleStoreKeepsNothingOfARush: a store that was busy once holds no more than
// one that never was, and works on.
func TestIdleStoreKeepsNothingOfARush(t *testing.T) {
	s, r := open(t, bridgetest.NATS(t)).NewStore("shop"), newRecorder()
	const n = 500
	for i := range n {
		if err := s.Put(t.Context(), r.record("shop", i, nil)); err != nil {
			t.Fatal(err)
		}
	}
	bridgetest.Eventually(t, long, func() bool { return r.count() == n }, "not all are stored")
	bridgetest.Eventually(t, long, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.array == nil && cap(s.ready)+cap(s.spare) <= leastQueue
	}, "it keeps the arrays that it needed")
	s.tick()
	s.mu.Lock()
	if s.timer != nil {
		t.Error("it keeps a timer")
	}
	s.mu.Unlock()
	if err := s.Put(t.Context(), r.record("shop", n, nil)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // to close it again is no error
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.inOrder(t, n+1)
}

// BenchmarkIdleStore is what a store holds that has nothing to store: new, and
// after it has stored one record.
func BenchmarkIdleStore(b *testing.B) {
	const stores = 10_000
	broker := open(b, bridgetest.NATS(b))
	all := make([]*Store, stores)
	ids := make([]string, stores)
	for i := range ids {
		ids[i] = "session-" + strconv.Itoa(i)
	}
	var fresh, used int64
	for b.Loop() {
		clear(all)
		before := bridgetest.Heap()
		for i, id := range ids {
			all[i] = broker.NewStore(id)
		}
		fresh = bridgetest.Heap() - before
		var stored sync.WaitGroup
		for _, s := range all {
			stored.Add(1)
			err := s.Put(b.Context(), &bridge.Record{Subject: "wa.recv.shop", Done: func(bridge.Stored) { stored.Done() }})
			if err != nil {
				b.Fatal(err)
			}
		}
		stored.Wait()
		used = bridgetest.Heap() - before
		for _, s := range all {
			if err := s.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(fresh)/stores, "B/new")
	b.ReportMetric(float64(used)/stores, "B/used")
}
