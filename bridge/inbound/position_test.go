package inbound_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"wabridge/bridge"
	"wabridge/bridge/inbound"
)

func TestCheckpoint(t *testing.T) {
	const nothing = math.MaxUint64
	store := new(memory)
	cfg := config(t, store)
	s := newSession(t, cfg)
	expect := func(want inbound.Position, behind uint64) {
		t.Helper()
		if got, from := s.Checkpoint(); !reflect.DeepEqual(got, want) || from != behind {
			t.Errorf("stored %+v, the rest behind %d; want %+v, %d", got, from, want, behind)
		}
	}
	expect(inbound.Position{}, nothing)
	receive(t, s, old(1, 0)) // not numbered
	expect(inbound.Position{}, nothing)
	store.answer(bridge.Stored{Sequence: 30})
	cfg.Horizon.Store(40)
	receive(t, s, numbered("e1", 1))
	cfg.Horizon.Store(50)
	receive(t, s, numbered("e1", 2))
	expect(inbound.Position{}, 40)
	store.answer(bridge.Stored{Sequence: 52})
	expect(inbound.Position{Epoch: "e1", Sequence: 1}, 52)
	store.answer(bridge.Stored{Sequence: 54})
	expect(inbound.Position{Epoch: "e1", Sequence: 2}, nothing)
	// A dead letter stands in another stream.
	receive(t, s, &bridge.Inbound{Kind: bridge.KindPoison, Epoch: "e1", Sequence: 3})
	receive(t, s, numbered("e1", 4))
	store.answer(bridge.Stored{Sequence: 900})
	expect(inbound.Position{Epoch: "e1", Sequence: 3}, 54)
	store.answer(bridge.Stored{Sequence: 55, Duplicate: true})
	// One that is refused leaves a gap.
	receive(t, s, numbered("e1", 5))
	receive(t, s, numbered("e1", 6))
	store.answer(bridge.Stored{Err: bridge.ErrTooLarge})
	store.answer(bridge.Stored{Sequence: 60})
	expect(inbound.Position{Epoch: "e1", Sequence: 4, Ahead: inbound.Runs{{Low: 6, High: 6}}}, nothing)
	receive(t, s, numbered("e1", 5))
	store.answer(bridge.Stored{Sequence: 61})
	expect(inbound.Position{Epoch: "e1", Sequence: 6}, nothing)
	receive(t, s, numbered("e2", 1))
	store.answer(bridge.Stored{Sequence: 62})
	expect(inbound.Position{Epoch: "e2", Sequence: 1}, nothing)
	// What was under way when the store was closed may be stored all the same.
	receive(t, s, numbered("e2", 2))
	receive(t, s, numbered("e2", 3))
	store.answer(bridge.Stored{Err: bridge.ErrClosed})
	store.answer(bridge.Stored{Sequence: 64})
	expect(inbound.Position{Epoch: "e2", Sequence: 1, Ahead: inbound.Runs{{Low: 3, High: 3}}}, 62)
}

func TestFound(t *testing.T) {
	header := func(epoch, sequence string) map[string][]string {
		return map[string][]string{"Wa-Epoch": {epoch}, "Wa-Sequence": {sequence}}
	}
	for name, tt := range map[string]struct {
		saved  inbound.Position
		stream []map[string][]string
		want   uint64
	}{
		"nothing":          {},
		"saved, no more":   {saved: inbound.Position{Epoch: "e1", Sequence: 9}, want: 9},
		"one missing":      {saved: inbound.Position{Epoch: "e1", Sequence: 9}, stream: []map[string][]string{header("e1", "10"), header("e1", "12")}, want: 10},
		"repaired late":    {saved: inbound.Position{Epoch: "e1", Sequence: 9}, stream: []map[string][]string{header("e1", "11"), header("e1", "12"), header("e1", "10")}, want: 12},
		"repaired later":   {saved: inbound.Position{Epoch: "e1", Sequence: 9, Ahead: inbound.Runs{{Low: 11, High: 12}}}, stream: []map[string][]string{header("e1", "10")}, want: 12},
		"joined late":      {stream: []map[string][]string{header("e1", "11"), header("e1", "12")}},
		"saved and more":   {saved: inbound.Position{Epoch: "e1", Sequence: 9}, stream: []map[string][]string{header("e1", "10"), header("e1", "11")}, want: 11},
		"repeats":          {saved: inbound.Position{Epoch: "e1", Sequence: 9}, stream: []map[string][]string{header("e1", "3")}, want: 9},
		"of another epoch": {saved: inbound.Position{Epoch: "e0", Sequence: 9}, stream: []map[string][]string{header("e0", "10")}},
		"a new epoch":      {saved: inbound.Position{Epoch: "e0", Sequence: 9}, stream: []map[string][]string{header("e0", "10"), header("e1", "1")}, want: 1},
		"not ours":         {stream: []map[string][]string{nil, header("e1", "x"), header("e1", ""), header("", "1")}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, new(memory))
			cfg.Past = tt.saved
			for _, h := range tt.stream {
				cfg.Past.Found(h)
			}
			got, err := newSession(t, cfg).Position(t.Context(), "e1")
			if err != nil || got != tt.want {
				t.Errorf("got %d, %v; want %d", got, err, tt.want)
			}
		})
	}
}

// TestEventsBehindAMissingOne: JetStream refused event 3 and took 4, 5 and 7;
// then the replica died.
func TestEventsBehindAMissingOne(t *testing.T) {
	store := new(memory)
	cfg := config(t, store)
	cfg.Past = inbound.Position{Epoch: "e1", Sequence: 2}
	for _, n := range []string{"4", "5", "7"} {
		cfg.Past.Found(map[string][]string{"Wa-Epoch": {"e1"}, "Wa-Sequence": {n}})
	}
	s := newSession(t, cfg)
	if got, err := s.Position(t.Context(), "e1"); err != nil || got != 2 {
		t.Fatalf("got %d, %v; want 2", got, err)
	}
	heard := new(acks)
	for n := 3; n <= 9; n++ {
		in := numbered("e1", n)
		in.Acker = heard
		receive(t, s, in)
	}
	var put []string
	for _, r := range store.records {
		put = append(put, r.Header["Wa-Sequence"][0])
	}
	if got := strings.Join(put, " "); got != "3 6 8 9" {
		t.Errorf("put %s, want 3 6 8 9", got)
	}
	for at := range put {
		store.answer(bridge.Stored{Sequence: uint64(50 + at)})
	}
	for i, in := range heard.ins {
		if in.Sequence != uint64(3+i) || heard.errs[i] != nil {
			t.Errorf("ack %d is of %d: %v", i, in.Sequence, heard.errs[i])
		}
	}
	if at, _ := s.Checkpoint(); heard.len() != 7 || at.Sequence != 9 || len(at.Ahead) != 0 {
		t.Errorf("acked %d, stored %+v", heard.len(), at)
	}
}

// TestPositionWaitsForWhatIsUnderWay: events that the store still has are stored
// or refused before a platform is told where to go on.
func TestPositionWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory)
		s := newSession(t, config(t, store))
		receive(t, s, numbered("e1", 1))
		receive(t, s, numbered("e1", 2))
		var got uint64
		over := make(chan error)
		go func() {
			var err error
			got, err = s.Position(t.Context(), "e1")
			over <- err
		}()
		store.answer(bridge.Stored{})
		synctest.Wait()
		select {
		case err := <-over:
			t.Fatalf("got %d, %v while an event was under way", got, err)
		default:
		}
		store.answer(bridge.Stored{})
		if err := <-over; err != nil || got != 2 {
			t.Errorf("got %d, %v; want 2", got, err)
		}

		receive(t, s, numbered("e1", 3))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Position(ctx, "e1"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that the wait ended", err)
		}
	})
}
