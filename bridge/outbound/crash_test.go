package outbound

import (
	"fmt"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/codec"
)

// A command is carried out while the process is killed between any two effects:
// before and after each write to a bucket or a stream, each send and each
// settlement, once at every place. One outcome comes of it, and one message.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	const steps = 40 // more than these commands take
	answers := map[string][]answer{
		"accepted":              nil,
		"refused":               {{result: bridge.Result{Class: codec.Permanent, Reason: "no"}}},
		"throttled":             {{result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeLane}}},
		"unanswered, taken":     {{result: bridge.Result{Class: codec.Unknown}, takes: true}},
		"unanswered, not taken": {{result: bridge.Result{Class: codec.Unknown}}},
	}
	for name, first := range answers {
		for _, ledger := range []bool{false, true} {
			for _, backlog := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/ledger %v/backlog %v", name, ledger, backlog), func(t *testing.T) {
					for step := range steps {
						p := plan{
							conversations: 1, window: 1, ledger: ledger, policy: bridge.Report, answers: first, kills: []int{step},
							ops: []op{{opPublish, 2}, {opDeliver, 2}, {opSweep, 5}},
						}
						if backlog {
							p.least = 1
							p.ops = []op{{opShut, 1}, {opPublish, 4}, {opDeliver, 4}, {opSweep, 10}, {opOpen, 1}, {opSweep, 5}}
						}
						if faults := play(t, p); len(faults) > 0 {
							t.Errorf("killed before step %d: %s", step, strings.Join(faults, "; "))
						}
					}
				})
			}
		}
	}
}
