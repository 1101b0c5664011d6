package app

import (
	"context"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeadroomPercent(t *testing.T) {
	for used, want := range map[uint64]int{
		0: 100, 1 << 20: 100, 48 << 20: 100, 96 << 20: 50, 192 << 20: 25, 10 << 30: 25,
	} {
		if got := headroomPercent(used); got != want {
			t.Errorf("%d bytes in use: %d %%, want %d", used, got, want)
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
