package inbound_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/inbound"
)

func TestSaveOnlyWhatMoved(t *testing.T) {
	var records []*bridge.Record
	cfg := config(t, prompt(&records))
	saved := new(positions)
	cfg.Positions = saved
	s := newSession(t, cfg)
	save := func(wantSaves int, want inbound.Position) {
		t.Helper()
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		if saved.saves != wantSaves || saved.p != want {
			t.Errorf("saved %d times, %+v; want %d, %+v", saved.saves, saved.p, wantSaves, want)
		}
	}
	save(0, inbound.Position{})
	receive(t, s, old(1, 0)) // not numbered
	save(0, inbound.Position{})
	receive(t, s, numbered("e1", 1))
	want := inbound.Position{Epoch: "e1", Sequence: 1, Recv: 2}
	save(1, want)
	save(1, want)
	receive(t, s, numbered("e1", 1)) // again
	want.Recv = 3
	save(2, want)
	// A dead letter stands in another stream.
	receive(t, s, &bridge.Inbound{Kind: bridge.KindPoison, Epoch: "e1", Sequence: 2})
	want.Sequence = 2
	save(3, want)
	receive(t, s, numbered("e2", 1))
	want = inbound.Position{Epoch: "e2", Sequence: 1, Recv: 5}
	save(4, want)

	saved.err = errors.New("JetStream is away")
	receive(t, s, numbered("e2", 2))
	if err := s.Save(t.Context()); !errors.Is(err, saved.err) {
		t.Errorf("got %v", err)
	}
	saved.err = nil
	save(5, inbound.Position{Epoch: "e2", Sequence: 2, Recv: 6})
}

func TestPosition(t *testing.T) {
	header := func(epoch, sequence string) map[string][]string {
		return map[string][]string{"Wa-Epoch": {epoch}, "Wa-Sequence": {sequence}}
	}
	type entry struct {
		at uint64
		h  map[string][]string
	}
	for name, tt := range map[string]struct {
		saved    inbound.Position
		stream   []entry
		wantFrom uint64
		want     uint64
	}{
		"nothing":          {wantFrom: 1},
		"saved, no more":   {saved: inbound.Position{Epoch: "e1", Sequence: 9, Recv: 40}, wantFrom: 41, want: 9},
		"only poison":      {saved: inbound.Position{Epoch: "e1", Sequence: 9}, wantFrom: 1, want: 9},
		"one missing":      {saved: inbound.Position{Epoch: "e1", Sequence: 9, Recv: 40}, stream: []entry{{41, header("e1", "10")}, {42, header("e1", "12")}}, wantFrom: 41, want: 10},
		"repaired late":    {saved: inbound.Position{Epoch: "e1", Sequence: 9, Recv: 40}, stream: []entry{{41, header("e1", "11")}, {42, header("e1", "12")}, {43, header("e1", "10")}}, wantFrom: 41, want: 12},
		"joined late":      {stream: []entry{{41, header("e1", "11")}, {42, header("e1", "12")}}, wantFrom: 1},
		"saved and more":   {saved: inbound.Position{Epoch: "e1", Sequence: 9, Recv: 40}, stream: []entry{{41, header("e1", "10")}, {44, header("e1", "11")}}, wantFrom: 41, want: 11},
		"repeats":          {saved: inbound.Position{Epoch: "e1", Sequence: 9, Recv: 40}, stream: []entry{{41, header("e1", "3")}}, wantFrom: 41, want: 9},
		"of another epoch": {saved: inbound.Position{Epoch: "e0", Sequence: 9, Recv: 40}, stream: []entry{{41, header("e0", "10")}}, wantFrom: 41},
		"a new epoch":      {saved: inbound.Position{Epoch: "e0", Sequence: 9, Recv: 40}, stream: []entry{{41, header("e0", "10")}, {42, header("e1", "1")}}, wantFrom: 41, want: 1},
		"not ours":         {stream: []entry{{1, nil}, {2, header("e1", "x")}, {3, header("e1", "")}}, wantFrom: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var from uint64
			cfg := config(t, new(memory))
			cfg.Positions = &positions{p: tt.saved}
			cfg.Scan = scanFunc(func(_ context.Context, id string, start uint64, f func(uint64, map[string][]string) error) error {
				from = start
				if id != session {
					t.Errorf("scanned session %q", id)
				}
				for _, e := range tt.stream {
					if err := f(e.at, e.h); err != nil {
						return err
					}
				}
				return nil
			})
			got, err := newSession(t, cfg).Position(t.Context(), "e1")
			if err != nil || got != tt.want || from != tt.wantFrom {
				t.Errorf("got %d from %d, %v; want %d from %d", got, from, err, tt.want, tt.wantFrom)
			}
		})
	}
}

// TestEventsBehindAMissingOne: JetStream refused event 3 and took 4, 5 and 7;
// then the replica died.
func TestEventsBehindAMissingOne(t *testing.T) {
	store := new(memory)
	cfg := config(t, store)
	saved := &positions{p: inbound.Position{Epoch: "e1", Sequence: 2, Recv: 40}}
	cfg.Positions = saved
	cfg.Scan = scanFunc(func(_ context.Context, _ string, _ uint64, f func(uint64, map[string][]string) error) error {
		for at, n := range []string{"4", "5", "7"} {
			if err := f(uint64(41+at), map[string][]string{"Wa-Epoch": {"e1"}, "Wa-Sequence": {n}}); err != nil {
				return err
			}
		}
		return nil
	})
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
	if err := s.Save(t.Context()); err != nil || heard.len() != 7 || (saved.p != inbound.Position{Epoch: "e1", Sequence: 9, Recv: 53}) {
		t.Errorf("acked %d, saved %+v, %v", heard.len(), saved.p, err)
	}
}

func TestPositionThatCannotBeRead(t *testing.T) {
	away := errors.New("JetStream is away")
	cfg := config(t, new(memory))
	cfg.Positions = &positions{err: away}
	if _, err := newSession(t, cfg).Position(t.Context(), "e1"); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	cfg = config(t, new(memory))
	cfg.Scan = scanFunc(func(context.Context, string, uint64, func(uint64, map[string][]string) error) error { return away })
	if _, err := newSession(t, cfg).Position(t.Context(), "e1"); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}
