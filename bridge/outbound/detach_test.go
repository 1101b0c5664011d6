package outbound

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// skip takes the consumer to n commands from the end, or past what it has
// delivered where that is further, as the owner of a shard does. It reports
// whether the session let it.
func (w *world) skip(n int) bool {
	w.mu.Lock()
	from, end, run := w.delivered+1, max(len(w.send)-n, w.delivered), w.run
	w.mu.Unlock()
	ctx, cancel := contextWithTimeout(5 * time.Second)
	defer cancel()
	if err := w.session.Detach(ctx, uint64(from), uint64(end)); err != nil || !w.step(run) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for sequence := range uint64(end) {
		if w.settled[sequence+1] == "" {
			w.settled[sequence+1] = "skipped"
		}
	}
	w.delivered = end
	return true
}

func TestWhatIsSkippedIsSentAndTheSessionLiveAgain(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 3)
		w.deliverAll()
		for range 20 {
			w.publish("15550142233", 2)
			w.publish("15550142244", 1)
			if !w.skip(0) {
				t.Fatal("a session that keeps up is not detached")
			}
			w.publish("15550142233", 1)
			w.deliverAll()
			elapse(10 * time.Millisecond)
			w.inOrder(t)
		}
		w.sweep(3 * time.Second)
		if got := w.session.load(time.Now()); got.backlogs != 0 || got.behind != 0 {
			t.Errorf("load %+v of a session that keeps up", got)
		}
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q of a session that is live", got)
		}
		w.drained(t)
		w.inOrder(t)
	})
}

// There is nothing to be written down of a session without commands.
func TestASessionWithNothingToDoIsDetachedAtOnce(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 5)
		w.deliverAll()
		elapse(time.Second)
		reads := 0
		w.onRead = func() { reads++ }
		begun := time.Now()
		if err := w.session.Detach(context.Background(), 6, 5); err != nil {
			t.Fatal(err)
		}
		elapse(time.Second)
		if got := w.cursor(); got != "" || reads != 0 || time.Since(begun) > time.Second {
			t.Errorf("cursor %q, %d reads, %v", got, reads, time.Since(begun))
		}
	})
}

// What the platform has, the next owner must ask for again.
func TestWhatIsInHandIsWrittenDownBeforeItIsSkipped(t *testing.T) {
	run(t, func(w *world) {
		w.platform.answer = func(*bridge.Outgoing, int) answer { return answer{takes: true, after: time.Hour} }
	}, func(w *world) {
		w.publish("15550142233", 3)
		w.deliverAll()
		elapse(time.Second)
		if !w.skip(0) {
			t.Fatal("it is not detached")
		}
		if got := w.cursor(); got == "" {
			t.Error("no cursor names what is in hand")
		}
		w.kill()
		w.platform.answer = func(*bridge.Outgoing, int) answer { return accept() }
		w.start()
		w.deliverAll()
		w.drained(t)
		w.inOrder(t)
	})
}

// A session that cannot send is detached too; its backlog is counted.
func TestASessionThatCannotSendIsDetached(t *testing.T) {
	run(t, func(w *world) {
		w.least, w.platform.window = 5, 0
	}, func(w *world) {
		w.publish("15550142233", 100)
		w.deliver(10)
		synctest.Wait()
		if !w.session.Behind() {
			t.Fatal("a session that is full is not behind")
		}
		if !w.skip(0) {
			t.Fatal("it is not detached")
		}
		w.sweep(10 * time.Second)
		if got := w.session.load(time.Now()); got.behind != 100 {
			t.Errorf("%d commands are behind, want 100", got.behind)
		}
		w.platform.setWindow(4)
		w.session.Wake()
		w.drained(t)
		w.inOrder(t)
	})
}

// Where nothing can be written down, nothing may be skipped.
func TestASessionThatCannotWriteIsNotDetached(t *testing.T) {
	var may atomic.Bool
	run(t, func(w *world) {
		w.configure = func(c *Config) { c.May = may.Load }
	}, func(w *world) {
		may.Store(true)
		w.publish("15550142233", 10)
		w.deliver(2)
		elapse(time.Second)
		may.Store(false)
		if w.skip(0) {
			t.Error("what is not written down is skipped")
		}
		if w.session.back.apart != nil {
			t.Error("it goes on looking whether it is detached")
		}
		may.Store(true)
		w.session.Wake()
		w.deliverAll()
		w.drained(t)
		w.inOrder(t)
		if err := w.session.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := w.session.Detach(context.Background(), 11, 11); !errors.Is(err, bridge.ErrClosed) {
			t.Errorf("closed, it gives %v", err)
		}
	})
}

// What is skipped and erased before it is read keeps nobody busy.
func TestWhatIsSkippedAndErasedIsPassedOver(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 2)
		w.deliverAll()
		reads := 0
		w.onRead = func() { reads++ }
		if err := w.session.Detach(context.Background(), 3, 7); err != nil {
			t.Fatal(err)
		}
		elapse(time.Minute)
		if reads > 1 {
			t.Errorf("%d reads of what is gone", reads)
		}
		w.sweep(3 * time.Second)
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q of a session that is live", got)
		}
	})
}

func TestSkippingThroughKills(t *testing.T) {
	throughKills(t, 0, 5, func(w *world) {
		for range 5 {
			w.skip(25)
			w.deliver(2)
			elapse(5 * time.Millisecond)
			w.publish("15550142233", 5)
		}
	})
}

func TestSkippingThroughHandOvers(t *testing.T) {
	for moment := range 60 {
		run(t, func(w *world) {
			w.platform.window = 3
			w.platform.answer = func(*bridge.Outgoing, int) answer {
				a := accept()
				a.after = 3 * time.Millisecond
				return a
			}
		}, func(w *world) {
			for i := range 60 {
				w.publish(fmt.Sprintf("1555%07d", i), 1)
			}
			w.deliver(10)
			skipped := make(chan bool)
			go func() { skipped <- w.skip(10) }()
			elapse(time.Duration(moment) * time.Millisecond)
			w.handOver()
			<-skipped
			w.start()
			w.deliverAll()
			w.drained(t)
			w.inOrder(t)
		})
	}
}

// A status has a command recalled, and cannot be written down: neither a
// delivery nor a read brings the command again.
func TestWhatIsRecalledAndSkippedIsNotForgotten(t *testing.T) {
	run(t, func(w *world) {
		w.useLedger()
		w.platform.answer = func(*bridge.Outgoing, int) answer { return answer{takes: true, after: time.Hour} }
	}, func(w *world) {
		w.publish("15550142233", 1)
		w.deliverAll()
		elapse(time.Second)
		w.kill()
		w.start()
		c, err := w.session.recall(context.Background(), codec.Callback{Sequence: 1, Ref: "cmd-1"})
		if err != nil || c == nil {
			t.Fatalf("recalled: %v, %v", c, err)
		}
		if !w.skip(0) {
			t.Fatal("it is not detached")
		}
		elapse(time.Second)
		w.session.release(c)
		w.sweep(2 * time.Minute)
		if got := w.word(1); got != codec.StatusUnknown {
			t.Errorf("what was recalled came to %q", got)
		}
	})
}

// What was skipped and sent is not called expired by the process that comes
// after: no delivery says that it may have been sent.
func TestWhatWasSkippedAndSentIsNotExpiredByTheNextOwner(t *testing.T) {
	run(t, func(w *world) {
		w.platform.answer = func(*bridge.Outgoing, int) answer { return answer{takes: true, after: time.Hour} }
	}, func(w *world) {
		w.publish("15550142233", 1)
		w.deliverAll()
		deadline := time.Now().Add(10 * time.Second).UTC().Format(time.RFC3339)
		sequence := w.publishWith("15550142244", map[string][]string{"Wa-Deadline": {deadline}})
		if !w.skip(0) {
			t.Fatal("it is not detached")
		}
		elapse(time.Second)
		if got := len(w.platform.arrivals("15550142244")); got != 1 {
			t.Fatalf("%d arrived", got)
		}
		w.kill()
		w.platform.answer = func(*bridge.Outgoing, int) answer { return accept() }
		elapse(time.Minute)
		w.start()
		w.deliverAll()
		w.drained(t)
		if got := w.word(sequence); got != codec.StatusUnknown {
			t.Errorf("what was delivered and whose deadline passed came to %q", got)
		}
	})
}

// While a cursor is being cleared, nothing may be taken for covered by it: the
// process may end before another one is stored.
func TestACursorThatIsBeingClearedCoversNothing(t *testing.T) {
	run(t, func(w *world) {
		w.cursors.slow = time.Second
		w.configure = func(c *Config) { c.MaxAge = 24 * time.Hour }
	}, func(w *world) {
		w.publish("15550142233", 1)
		if !w.skip(0) {
			t.Fatal("it is not detached")
		}
		for w.session.load(time.Now()).backlogs > 0 { // until it is live, and clears its cursor
			elapse(100 * time.Millisecond)
		}
		w.publish("15550142233", 5)
		w.platform.setWindow(0)
		if !w.skip(0) {
			t.Fatal("it is not detached again")
		}
		if got := w.cursor(); got == "" {
			t.Error("no cursor names what was skipped")
		}
		w.kill()
		w.platform.setWindow(8)
		w.start()
		w.deliverAll()
		w.drained(t)
		w.inOrder(t)
	})
}
