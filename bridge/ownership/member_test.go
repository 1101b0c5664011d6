package ownership_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
	"wabridge/bridge/ownership"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet notes which shards run. It drains for as long as it is let.
type fleet struct {
	mu      sync.Mutex
	running map[int]bool
	// slow drains until the time for it is over.
	slow bool
}

func (f *fleet) Start(shard int, _ []byte) { f.set(shard, true) }

func (f *fleet) HandOver(ctx context.Context, shard int) []byte {
	if f.slow {
		<-ctx.Done()
	}
	f.set(shard, false)
	return nil
}

func (f *fleet) Drop(shard int) { f.set(shard, false) }

func (f *fleet) set(shard int, running bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running = make(map[int]bool)
	}
	f.running[shard] = running
}

func (f *fleet) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, running := range f.running {
		if running {
			n++
		}
	}
	return n
}

// bucket opens the bucket of owners on a connection of its own.
func bucket(t *testing.T, s *bridgetest.Server) bridge.KV {
	t.Helper()
	b, err := broker.Connect(t.Context(), broker.Config{URL: s.URL(), Manage: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	kv, err := b.KV(t.Context(), broker.Owners)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

const shards = 4

// join runs a member until stop, which waits for its end.
func join(t *testing.T, id string, kv bridge.KV, f *fleet) (stop func()) {
	t.Helper()
	m, err := ownership.New(ownership.Config{
		Replica: id, Count: shards, KV: kv, Shards: f, Logger: slog.New(slog.DiscardHandler),
		HandOver: 200 * time.Millisecond,
	}, "1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("member %s does not end", id)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestAShardWhoseDrainingTookTooLongIsReleased(t *testing.T) {
	s := bridgetest.NATS(t)
	kv := bucket(t, s)
	one, two := &fleet{slow: true}, &fleet{}
	stop := join(t, "one", kv, one)
	bridgetest.Eventually(t, 20*time.Second, func() bool { return one.count() == shards })
	join(t, "two", bucket(t, s), two)
	bridgetest.Eventually(t, 20*time.Second, func() bool { return one.count() == shards/2 && two.count() == shards/2 },
		"the second replica gets its share")
	stop()
	bridgetest.Eventually(t, 20*time.Second, func() bool { return two.count() == shards }, "it gets all")
}

// deaf is a bucket that refuses at once to update a shard while deaf is set, as
// one does whose connection is lost, and counts how often it was asked.
type deaf struct {
	bridge.KV
	deaf  atomic.Bool
	asked atomic.Int64
}

func (d *deaf) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if d.deaf.Load() {
		d.asked.Add(1)
		return 0, context.DeadlineExceeded
	}
	return d.KV.Update(ctx, key, value, revision)
}

func TestAReleaseThatFailsIsTriedAgainWithoutHaste(t *testing.T) {
	s := bridgetest.NATS(t)
	kv := &deaf{KV: bucket(t, s)}
	one, two := &fleet{}, &fleet{}
	join(t, "one", kv, one)
	bridgetest.Eventually(t, 20*time.Second, func() bool { return one.count() == shards })
	kv.deaf.Store(true)
	join(t, "two", bucket(t, s), two)
	bridgetest.Eventually(t, 20*time.Second, func() bool { return kv.asked.Load() >= shards }, "it tries again")
	before, began := kv.asked.Load(), time.Now()
	<-time.After(300 * time.Millisecond)
	// Two shards, one try in 50 ms each.
	if tries, most := kv.asked.Load()-before, int64(time.Since(began)/(25*time.Millisecond))+4; tries > most {
		t.Errorf("asked %d times in %v, want at most %d", tries, time.Since(began), most)
	}
	kv.deaf.Store(false)
	bridgetest.Eventually(t, 20*time.Second, func() bool { return two.count() == shards/2 })
}
