package app

import (
	"context"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeadroomPercent(t *testing.T) {
	calm, busy := headroom{calm: true}, headroom{}
	for used, want := range map[uint64][2]int{
		0: {100, 100}, 1 << 20: {100, 100}, 12 << 20: {100, 100}, 24 << 20: {50, 100}, 48 << 20: {25, 50},
		96 << 20: {15, 25}, 10 << 30: {15, 15},
	} {
		if got := [2]int{calm.percent(used), busy.percent(used)}; got != want {
			t.Errorf("%d bytes in use: %d %%, want %d", used, got, want)
		}
	}
}

// A process is calm after seconds without a collection, and busy after seconds
// with many; a burst between changes nothing.
func TestHeadroomFollowsTheLoad(t *testing.T) {
	var h headroom
	var n uint64
	for i, s := range []struct {
		collections uint64
		calm        bool
	}{
		{0, false},
		{0, false},
		{0, false},
		{0, false},
		{1, false},
		{0, false},
		{0, false},
		{0, false},
		{0, false},
		{0, true},
		{5, true},
		{5, true},
		{1, true},
		{5, true},
		{5, true},
		{5, false},
		{0, false},
		{2, false},
	} {
		n += s.collections
		was := h.calm
		if calmed := h.second(n); h.calm != s.calm || calmed != (s.calm && !was) {
			t.Errorf("second %d: calm is %t, calmed %t", i, h.calm, calmed)
		}
	}
}

// What an operator has set stays, and what was set here goes.
func TestHeadroomLeavesNothing(t *testing.T) {
	for _, set := range []int{usualPercent, 70} {
		before := debug.SetGCPercent(set)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go keepHeadroom(ctx)
			<-time.After(5 * time.Second)
			cancel()
			synctest.Wait()
		})
		if got := debug.SetGCPercent(before); got != set {
			t.Errorf("GOGC was %d and is %d", set, got)
		}
	}
}
