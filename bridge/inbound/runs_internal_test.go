package inbound

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRuns compares runs with a set.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r Runs
		set := map[uint64]bool{}
		for _, n := range rapid.SliceOf(rapid.Uint64Range(1, 40)).Draw(t, "sequences") {
			r.add(n)
			set[n] = true
		}
		start := rapid.Uint64Range(0, 40).Draw(t, "start")
		for n := uint64(0); n <= 41; n++ {
			if r.has(n) != set[n] {
				t.Fatalf("has(%d) is %t in %v", n, r.has(n), r)
			}
		}
		want := start
		for set[want+1] {
			want++
		}
		if got := r.after(start); got != want {
			t.Fatalf("after(%d) is %d, want %d", start, got, want)
		}
		for n := want + 1; n <= 41; n++ {
			if r.has(n) != set[n] {
				t.Fatalf("after(%d) lost %d", start, n)
			}
		}
	})
}
