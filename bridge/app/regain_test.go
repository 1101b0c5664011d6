package app

import (
	"slices"
	"testing"
	"time"
)

// A session that is replaced is sent back after a while, and after twice as long
// where it is replaced again; one that held its place starts over.
func TestRegains(t *testing.T) {
	r := make(regains)
	from := time.Now()
	at := func(after time.Duration, back bool, replaced ...string) {
		t.Helper()
		want := []string(nil)
		if back {
			want = []string{"shop"}
		}
		if got := r.due(from.Add(after), replaced); !slices.Equal(got, want) {
			t.Errorf("after %v: sent back %q, want %q", after, got, want)
		}
	}
	at(0, false, "shop")
	at(regainLeast-time.Millisecond, false, "shop")
	at(regainLeast, true, "shop")
	at(regainLeast+time.Second, false)

	again := time.Minute
	at(again, false, "shop")
	at(again+regainLeast, false, "shop")
	at(again+2*regainLeast, true, "shop")
	at(again+2*regainLeast+time.Second, false)

	held := again + 2*regainLeast + regained + time.Second
	at(held, false)
	at(held+time.Second, false, "shop")
	at(held+time.Second+regainLeast, true, "shop")

	for range 20 { // the wait is bounded
		held += regainMost
		at(held, false, "shop")
		held += regainMost
		at(held, true, "shop")
	}
	at(held+regained+time.Second, false)
	if len(r) > 0 {
		t.Errorf("%d sessions are remembered", len(r))
	}
	at(0, false, "shop")
	at(time.Second, false) // someone resumed it
	if len(r) > 0 {
		t.Errorf("%d sessions are remembered", len(r))
	}
}
