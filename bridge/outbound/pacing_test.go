package outbound

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

func TestPacing(t *testing.T) {
	for _, test := range []struct {
		name   string
		limits Limits
		spread int // conversations
		n      int
		least  time.Duration
		most   time.Duration
	}{
		{"none", Limits{}, 1, 200, 0, 0},
		{"session", Limits{SessionRate: 80, SessionBurst: 1}, 50, 401, 5 * time.Second, 6 * time.Second},
		{"session's burst", Limits{SessionRate: 10, SessionBurst: 20}, 5, 30, time.Second, 2 * time.Second},
		{"conversation", Limits{ConversationRate: 1.0 / 6, ConversationBurst: 1}, 1, 4, 18 * time.Second, 19 * time.Second},
		{"conversation's burst", Limits{ConversationRate: 1.0 / 6, ConversationBurst: 45}, 1, 46, 6 * time.Second, 7 * time.Second},
		{"conversations apart", Limits{ConversationRate: 1, ConversationBurst: 1}, 20, 40, time.Second, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(w *world) { w.configure = func(c *Config) { c.Limits = test.limits } }, func(w *world) {
				for i := range test.n {
					w.publish(fmt.Sprint(15550140000+i%test.spread), 1)
				}
				begun := time.Now()
				w.deliverAll()
				for !w.finished() {
					w.sweep(100 * time.Millisecond)
				}
				if took := time.Since(begun); took < test.least || took > test.most+200*time.Millisecond {
					t.Errorf("took %v, want %v to %v", took, test.least, test.most)
				}
				w.sweep(5 * time.Minute)
				w.session.mu.Lock()
				lanes := len(w.session.lanes)
				w.session.mu.Unlock()
				if lanes != 0 {
					t.Errorf("%d lanes are left", lanes)
				}
			})
		})
	}
}

// The platform says how fast the number may send only after the session has
// begun: what waits goes on at the new rate.
func TestLimitsChange(t *testing.T) {
	const n = 101
	run(t, func(w *world) {
		w.configure = func(c *Config) {
			c.Limits = Limits{SessionRate: 1, SessionBurst: 1, ConversationRate: 1, ConversationBurst: 1}
		}
	}, func(w *world) {
		for i := range n {
			w.publish(fmt.Sprint(15550140000+i%2), 1)
		}
		begun := time.Now()
		w.deliverAll()
		w.sweep(100 * time.Millisecond)
		w.session.SetLimits(Limits{SessionRate: 10, SessionBurst: 1})
		for !w.finished() {
			w.sweep(100 * time.Millisecond)
		}
		if took := time.Since(begun); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("took %v, want 10 s at the new rate", took)
		}
		w.session.SetLimits(Limits{})
		if w.session.pace != nil {
			t.Error("a rate of 0 still limits")
		}
	})
}

// What comes in takes from the rate, and never more than is there.
func TestInboundCounts(t *testing.T) {
	run(t, func(w *world) {
		w.configure = func(c *Config) { c.Limits = Limits{SessionRate: 10, SessionBurst: 10} }
	}, func(w *world) {
		for i := range 15 {
			w.publish(fmt.Sprint(15550140000+i), 1)
		}
		w.session.Count(4)
		w.session.Count(1_000_000)
		w.session.Count(-1)
		begun := time.Now()
		w.deliverAll()
		for !w.finished() {
			w.sweep(100 * time.Millisecond)
		}
		if took := time.Since(begun); took < 1500*time.Millisecond || took > 1800*time.Millisecond {
			t.Errorf("15 sends took %v, want 1.5 s: what came in had used up the burst of 10", took)
		}
	})
}

func TestAppHoldsItsSessions(t *testing.T) {
	app := NewApp()
	synctest.Test(t, func(t *testing.T) {
		first, second := newWorld(t), newWorld(t)
		for _, w := range []*world{first, second} {
			w.configure = func(c *Config) { c.App = app }
		}
		first.platform.answer = func(_ *bridge.Outgoing, nth int) answer {
			if nth == 1 {
				return answer{result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeApp, Wait: 4 * time.Second}}
			}
			return accept()
		}
		first.start()
		second.start()
		first.publish("15550142233", 1)
		first.deliverAll()
		second.publish("15550142233", 1)
		second.deliverAll()
		elapse(3900 * time.Millisecond)
		synctest.Wait()
		if n := second.platform.sendCount(); n != 0 {
			t.Errorf("the app's other session sent %d", n)
		}
		elapse(200 * time.Millisecond)
		synctest.Wait()
		for _, w := range []*world{first, second} {
			if got := w.word(1); got != codec.StatusAccepted {
				t.Errorf("came to %q", got)
			}
			w.stop()
		}
	})
}

func TestLanesAreFair(t *testing.T) {
	run(t, func(w *world) {
		w.platform.window = 1
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			a := accept()
			a.after = time.Millisecond
			return a
		}
	}, func(w *world) {
		w.publish("15550140000", 300)
		w.publish("15550140001", 5)
		w.deliverAll()
		elapse(15 * time.Millisecond)
		synctest.Wait()
		if got := len(w.platform.arrivals("15550140001")); got != 5 {
			t.Errorf("the quiet conversation got %d of 5 in 15 sends", got)
		}
		w.drained(t)
	})
}

func TestHeldLaneHoldsNoOther(t *testing.T) {
	run(t, func(w *world) {
		w.platform.answer = func(out *bridge.Outgoing, _ int) answer {
			if out.Conversation == "15550140000" {
				return answer{result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeLane}}
			}
			return accept()
		}
	}, func(w *world) {
		w.publish("15550140000", 3)
		w.publish("15550140001", 3)
		w.deliverAll()
		w.sweep(time.Minute)
		if got := len(w.platform.arrivals("15550140001")); got != 3 {
			t.Errorf("%d of 3 arrived", got)
		}
		if got := w.platform.sendsOf("cmd-1"); got < 3 || got > 4 { // 0, 1, 5, 21 s
			t.Errorf("the throttled one was sent %d times", got)
		}
		for sequence := uint64(1); sequence <= 3; sequence++ {
			if got := w.progress[sequence]; got < 5 || got > 6 {
				t.Errorf("%d: JetStream heard %d times that it is held", sequence, got)
			}
		}
	})
}

func TestWaits(t *testing.T) {
	for n, want := range []time.Duration{1, 4, 16, 64, 256, 900, 900, 900} {
		if got := pairWait(n); got != want*time.Second {
			t.Errorf("pair wait %d is %v", n, got)
		}
	}
	for n := range 100 {
		if got := jitter(n, time.Second, time.Minute); got <= 0 || got > time.Minute {
			t.Errorf("jitter %d is %v", n, got)
		}
	}
}
