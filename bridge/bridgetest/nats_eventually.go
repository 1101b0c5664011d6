package bridgetest

import (
	"fmt"
	"testing"
	"time"
)

// pollEvery is how often Eventually looks.
const pollEvery = 5 * time.Millisecond

// Eventually calls cond until it holds, and fails the test where that takes
// longer than timeout. The message is optional: a format and its arguments.
func Eventually(t testing.TB, timeout time.Duration, cond func() bool, message ...any) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v%s", timeout, reason(message))
			return
		}
	}
}

func reason(message []any) string {
	if len(message) == 0 {
		return ""
	}
	if format, ok := message[0].(string); ok {
		return ": " + fmt.Sprintf(format, message[1:]...)
	}
	return ": " + fmt.Sprint(message...)
}
