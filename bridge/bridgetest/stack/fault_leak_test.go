package stack

import (
	"flag"
	"fmt"
	"runtime"
	"testing"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

var reconnects = flag.Int("reconnects", 400, "how many reconnects must leave nothing behind")

// Reconnects leave nothing behind: no goroutine, no memory.
func TestFaultManyReconnects(t *testing.T) {
	const sessions = 100
	rounds := *reconnects / sessions
	ids := make([]string, sessions)
	for i := range ids {
		ids[i] = fmt.Sprintf("many-%d", i)
	}
	s := New(t, Config{Sessions: ids})
	connected := func(n int) {
		t.Helper()
		bridgetest.Eventually(t, 2*patience, func() bool {
			stats := s.Sim.Stats()
			return stats.Connected == sessions && stats.Connections >= n
		}, "not every session is connected for the %dth time", n/sessions)
	}
	cut := func(round int) {
		t.Helper()
		if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultCut, Count: sessions}); err != nil {
			t.Fatal(err)
		}
		connected(sessions * (round + 1))
	}
	connected(sessions)
	cut(1) // what is made once is made
	goroutines, heap := weigh()
	for round := range rounds {
		cut(round + 2)
	}
	bridgetest.Eventually(t, patience, func() bool { return runtime.NumGoroutine() <= goroutines+sessions/2 },
		"%d reconnects left goroutines behind: there were %d", sessions*rounds, goroutines)
	left, after := weigh()
	if after > heap+16<<20 {
		t.Errorf("%d reconnects left %d KiB behind", sessions*rounds, (after-heap)>>10)
	}
	t.Logf("%d reconnects: goroutines %d, then %d; heap %d KiB, then %d", sessions*rounds, goroutines, left, heap>>10, after>>10)
}

// weigh counts goroutines and the bytes of the heap that are in use.
func weigh() (goroutines int, heap int64) {
	heap = bridgetest.Heap()
	return runtime.NumGoroutine(), heap
}
