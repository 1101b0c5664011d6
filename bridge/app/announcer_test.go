package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const long = 30 * time.Second

// ground is a broker on a server of its own, with every bucket.
func ground(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := broker.Connect(t.Context(), broker.Config{
		URL: bridgetest.NATS(t).URL(), Manage: true, Shards: 1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), long)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// refusing is a bucket that refuses the keys of some sessions while told to.
type refusing struct {
	bridge.KV
	refuses atomic.Pointer[string]
	tries   atomic.Int64
}

func (r *refusing) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	if part := r.refuses.Load(); part != nil && strings.Contains(key, *part) {
		r.tries.Add(1)
		return 0, errors.New("no room")
	}
	return r.KV.Put(ctx, key, value)
}

func (r *refusing) refuse(part string) { r.refuses.Store(&part) }

// scene is an announcer at work.
type scene struct {
	*announcer
	kv     *refusing
	b      *broker.Broker
	allows atomic.Bool
}

func newScene(t *testing.T) *scene {
	t.Helper()
	b := ground(t)
	state, err := b.KV(t.Context(), broker.State)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(noop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{kv: &refusing{KV: state}, b: b}
	s.allows.Store(true)
	s.announcer = newAnnouncer(b.Names(), "r1", s.kv, b.NewStore("_shared"), slog.New(slog.DiscardHandler), m)
	s.may = s.allows.Load
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return s
}

func (s *scene) say(session string, states ...bridge.State) {
	for _, state := range states {
		s.changed(session, bridge.Change{State: state, At: time.Now()})
	}
}

// state is what KV wa_state holds of a session.
func (s *scene) state(t *testing.T, session string) bridge.State {
	t.Helper()
	e, err := s.kv.Get(t.Context(), stateKey(session))
	if errors.Is(err, bridge.ErrNotFound) {
		return ""
	}
	var v stateValue
	if err := errors.Join(err, json.Unmarshal(e.Value, &v)); err != nil {
		t.Fatal(err)
	}
	return v.State
}

// events counts the events of a session.
func (s *scene) events(t *testing.T, session string) int {
	t.Helper()
	n := 0
	err := s.b.ScanRecv(t.Context(), 1, func(of string, _ map[string][]string) error {
		if of == session {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *scene) flushed(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if err := s.flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestEveryChangeIsAnEventAndTheLastIsTheState(t *testing.T) {
	s := newScene(t)
	for i := range 50 {
		s.say(fmt.Sprintf("s%d", i), bridge.Connecting, bridge.Connected, bridge.Disconnected, bridge.Connected)
	}
	s.flushed(t)
	for i := range 50 {
		session := fmt.Sprintf("s%d", i)
		if state, n := s.state(t, session), s.events(t, session); state != bridge.Connected || n != 4 {
			t.Errorf("session %s is %q with %d events, want connected with 4", session, state, n)
		}
	}
}

func TestAStateThatIsRefusedHoldsNothingElseUp(t *testing.T) {
	s := newScene(t)
	s.kv.refuse("bad")
	s.say("bad", bridge.Connecting)
	bridgetest.Eventually(t, long, func() bool { return s.kv.tries.Load() > 1 })
	s.say("bad", bridge.Connected)
	s.say("good", bridge.Connected)
	bridgetest.Eventually(t, long, func() bool {
		return s.state(t, "good") == bridge.Connected && s.events(t, "good") == 1 && s.events(t, "bad") == 2
	}, "the state of one session waits for that of another")
	s.kv.refuse("nobody")
	s.flushed(t)
	if state := s.state(t, "bad"); state != bridge.Connected {
		t.Errorf("state %q, want the newest", state)
	}
}

func TestNothingIsToldOfASessionThatAnotherReplicaRuns(t *testing.T) {
	s := newScene(t)
	s.say("shop", bridge.Connected)
	s.flushed(t)
	// The replica is cut off, and another one takes the session over.
	s.kv.refuse("shop")
	s.say("shop", bridge.Disconnected)
	bridgetest.Eventually(t, long, func() bool { return s.kv.tries.Load() > 0 })
	s.allows.Store(false)
	s.say("shop", bridge.Replaced)
	c := bridge.Change{State: bridge.Connected, At: time.Now()}
	if _, err := s.kv.KV.Put(t.Context(), stateKey("shop"), s.value(c)); err != nil {
		t.Fatal(err)
	}
	s.kv.refuse("nobody")
	s.say("other", bridge.Connected)
	s.forget(maps.Keys(map[string]bool{"shop": true}))
	s.allows.Store(true)
	s.flushed(t)
	if state := s.state(t, "shop"); state != bridge.Connected {
		t.Errorf("state %q: told over what the new owner said", state)
	}
	if n := s.events(t, "shop"); n != 2 {
		t.Errorf("%d events, want those of before", n)
	}
	if state := s.state(t, "other"); state != bridge.Connected {
		t.Errorf("the other session is %q", state)
	}
}
