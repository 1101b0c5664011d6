package broker

import (
	"log/slog"
	"testing"
	"time"

	"wabridge/bridge/bridgetest"
)

func TestAHungServerIsLeft(t *testing.T) {
	// One server, known by two addresses: the first hangs.
	s := bridgetest.NATS(t)
	hangs, err := bridgetest.NewLink("hangs", s.URL()[len("nats://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hangs.Close)
	b := open(t, s, func(c *Config) { c.URL = "nats://" + hangs.Addr(); c.Logger = slog.New(slog.DiscardHandler) })
	kv := bucket(t, b, State)
	if err := b.nc.SetServerPool([]string{"nats://" + hangs.Addr(), s.URL()}); err != nil {
		t.Fatal(err)
	}
	hangs.HoldUp()
	hangs.HoldDown()
	began := time.Now()
	bridgetest.Eventually(t, long, func() bool {
		_, err := kv.Put(t.Context(), "state.shop", []byte("x"))
		return err == nil
	}, "another server takes over")
	if took := time.Since(began); took > pingEvery {
		t.Errorf("it took %v: as long as pings need", took)
	}
}

func TestAWriteEndsWithItsConnection(t *testing.T) {
	s := bridgetest.NATS(t)
	link, err := bridgetest.NewLink("cut", s.URL()[len("nats://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	b := open(t, s, func(c *Config) { c.URL = "nats://" + link.Addr() })
	kv := bucket(t, b, State)
	link.HoldDown()
	failed := make(chan time.Duration, 1)
	began := time.Now()
	go func() {
		if _, err := kv.Put(t.Context(), "state.shop", []byte("x")); err != nil {
			failed <- time.Since(began)
			return
		}
		failed <- callWait
	}()
	bridgetest.Eventually(t, long, func() bool {
		return len(failed) > 0 || b.nc.Stats().OutMsgs > 0 && time.Since(began) > 100*time.Millisecond
	})
	link.Cut()
	link.Heal()
	if took := <-failed; took >= callWait {
		t.Errorf("it took %v: it waited for an answer that went with the connection", took)
	}
}
