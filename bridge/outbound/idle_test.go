package outbound

import (
	"context"
	"strconv"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// BenchmarkIdle is what a session holds and costs that has nothing to send: new,
// and after it has sent one command.
func BenchmarkIdle(b *testing.B) {
	const sessions = 10_000
	cfg := Config{Env: benchEnv(b), Store: storeFunc(stored)}
	all := make([]*Session, sessions)
	ids := make([]string, sessions)
	for i := range ids {
		ids[i] = "session-" + strconv.Itoa(i)
	}
	acks := make(acked, sessions)
	before := bridgetest.Heap()
	for i, id := range ids {
		cfg.Session = id
		s, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		all[i] = s
		if err := s.SetPlatform(instant{}); err != nil {
			b.Fatal(err)
		}
		if err := s.Start(bridge.Entry{}); err != nil {
			b.Fatal(err)
		}
	}
	fresh := bridgetest.Heap() - before
	now := time.Now()
	for b.Loop() {
		cfg.Sweep(now)
	}
	swept := b.Elapsed()
	for i, s := range all {
		s.Deliver(&bridge.Delivery{
			Session: ids[i], Sequence: uint64(i + 1), Stored: now, Settler: acks,
			Body: []byte(`{"to":"+15550142233","type":"text","text":{"body":"hello"}}`),
		})
	}
	for range all {
		<-acks
	}
	for _, s := range all {
		s.Prune(sessions)
		s.Prune(sessions)
		s.Prune(sessions)
	}
	cfg.Sweep(now)
	used := bridgetest.Heap() - before
	b.ReportMetric(float64(fresh)/sessions, "B/new")
	b.ReportMetric(float64(used)/sessions, "B/used")
	b.ReportMetric(float64(swept.Nanoseconds())/float64(b.N), "ns/sweep")
	for _, s := range all {
		if err := s.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
