package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wabridge/bridge/bridgetest"
)

// TestMain gives the servers of a cluster more time to end than goleak does.
func TestMain(m *testing.M) {
	code := m.Run()
	// nats.go v1.55.0 forgets this one where the object store puts something small:
	// the publisher is cleaned up before the goroutine reads what it waits for.
	forgotten := goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect")
	var leak error
	for range 20 {
		if leak = goleak.Find(forgotten); leak == nil {
			break
		}
	}
	if code == 0 && leak != nil {
		fmt.Fprintln(os.Stderr, leak)
		code = 1
	}
	os.Exit(code)
}

const long = 30 * time.Second

// urler is a server or a cluster.
type urler interface{ URL() string }

// dial connects a broker that is closed at the end of the test.
func dial(t testing.TB, s urler, change ...func(*Config)) *Broker {
	t.Helper()
	config := Config{URL: s.URL(), Manage: true, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&config)
	}
	b, err := Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), long)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Errorf("closing the broker: %v", err)
		}
	})
	return b
}

// open connects a broker and lets it create everything.
func open(t testing.TB, s urler, change ...func(*Config)) *Broker {
	t.Helper()
	b := dial(t, s, change...)
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBrokerCreatesWhatIsMissingAndIsHealthy(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	if b.Shards() != 32 {
		t.Errorf("shards = %d, want 32", b.Shards())
	}
	if since := time.Since(b.SendCreated()); since < 0 || since > time.Hour {
		t.Errorf("WA_SEND was created %v ago", since)
	}
	if err := b.Health(t.Context()); err != nil {
		t.Error(err)
	}
	// What one bridge created suits the next.
	second := open(t, s, func(c *Config) { c.Manage = false })
	if second.Shards() != 32 {
		t.Errorf("shards of the second = %d, want 32", second.Shards())
	}
}
