package broker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"wabridge/bridge/bridgetest"
)

// heard keeps what a LookAhead says.
type heard struct {
	mu        sync.Mutex
	sessions  []string
	sequences []uint64
	enough    error // what it answers from then on
}

func (h *heard) hear(session string, sequence uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.enough != nil {
		return h.enough
	}
	h.sessions = append(h.sessions, session)
	h.sequences = append(h.sequences, sequence)
	return nil
}

func (h *heard) await(t *testing.T, want ...uint64) {
	t.Helper()
	bridgetest.Eventually(t, long, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.sequences) >= len(want)
	}, "fewer than %d commands were announced", len(want))
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.sequences, want) {
		t.Errorf("announced %v, want %v", h.sequences, want)
	}
}

func TestLookAheadTellsOfSomeSessionsOnly(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	js := s.JetStream(t)
	send(t, js, "early", 0, 1)    // 1
	send(t, js, "loud", 0, 2000)  // 2 to 2001
	send(t, js, "quiet", 0, 2)    // 2002, 2003
	send(t, js, "loud", 2000, 20) // to 2023
	send(t, js, "calm", 0, 1)     // 2024
	var h heard
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- b.LookAhead(ctx, 0, []string{"quiet", "calm", "early"}, 2, h.hear) }()
	h.await(t, 2002, 2003, 2024)
	send(t, js, "loud", 2020, 1)
	send(t, js, "quiet", 2, 1)
	h.await(t, 2002, 2003, 2024, 2026)
	if want := []string{"quiet", "quiet", "calm", "quiet"}; !slices.Equal(h.sessions, want) {
		t.Errorf("announced to %v, want %v", h.sessions, want)
	}

	enough := errors.New("enough")
	h.mu.Lock()
	h.enough = enough
	h.mu.Unlock()
	send(t, js, "calm", 1, 1)
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("ended with %v, want what was answered", err)
	}

	h = heard{}
	go func() { ended <- b.LookAhead(ctx, 0, []string{"quiet"}, 2003, h.hear) }()
	h.await(t, 2003, 2026)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v, want %v", err, context.Canceled)
	}
}

func TestLookAheadEndsWhereItMayHaveMissedSomething(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	send(t, s.JetStream(t), "quiet", 0, 1)
	var h heard
	ended := make(chan error)
	go func() { ended <- b.LookAhead(t.Context(), 0, []string{"quiet"}, 1, h.hear) }()
	h.await(t, 1)
	s.Restart(t)
	if err := <-ended; err == nil {
		t.Error("it says nothing of a lost connection")
	}
}
