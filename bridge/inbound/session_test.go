package inbound_test

import (
	"context"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/inbound"
)

func TestFaultsAreNamedAtOnce(t *testing.T) {
	_, err := inbound.New(inbound.Config{Session: "no.dots", Env: &inbound.Env{Window: -1}})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{`"no.dots"`, "names", "store", "found", "spill", "window"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// BenchmarkReceive measures a message on its way to a store that is at once done.
func BenchmarkReceive(b *testing.B) {
	s := newSession(b, config(b, putFunc(func(_ context.Context, r *bridge.Record) error {
		r.Done(bridge.Stored{Sequence: 1})
		return nil
	})))
	body := []byte(strings.Replace(message, "thanks", strings.Repeat("thanks ", 40), 1))
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		in := &bridge.Inbound{Kind: bridge.KindMessage, Data: body, Epoch: "e1", Sequence: 1, TraceParent: parent}
		if err := s.Receive(ctx, in); err != nil {
			b.Fatal(err)
		}
	}
}
