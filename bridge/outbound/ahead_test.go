package outbound

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// announce tells the session of the next n commands that the consumer has not
// delivered and that it was not told of. It reports whether that was of use.
func (w *world) announce(n int) bool {
	w.mu.Lock()
	from := uint64(w.delivered) + 1
	first := max(from, w.announced+1)
	last := min(first+uint64(n)-1, uint64(len(w.send)))
	w.mu.Unlock()
	for sequence := first; sequence <= last; sequence++ {
		if !w.session.Announce(from, sequence) {
			return false
		}
		w.mu.Lock()
		w.announced = sequence
		w.mu.Unlock()
	}
	return true
}

// rejoin ends what announce began.
func (w *world) rejoin() {
	w.mu.Lock()
	w.announced = 0
	w.mu.Unlock()
	w.session.Rejoin()
}

func TestWhatIsAnnouncedIsSentBeforeItIsDelivered(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 3)
		w.deliverAll()
		for range 20 {
			w.publish("15550142233", 2)
			w.publish("15550142244", 1)
			w.announce(3)
			elapse(10 * time.Millisecond)
			w.inOrder(t)
		}
		if got := w.session.load(time.Now()); got.backlogs != 0 || got.behind != 0 {
			t.Errorf("load %+v of a session that keeps up", got)
		}
		w.deliver(30) // the consumer comes to it in its own time
		synctest.Wait()
		for sequence := range uint64(33) {
			if got := w.settlement(sequence + 1); got != "ack" {
				t.Errorf("%d is settled by %q", sequence+1, got)
			}
		}
		w.rejoin()
		w.deliverAll()
		w.sweep(3 * time.Second)
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q after it has rejoined", got)
		}
		w.publish("15550142233", 1)
		w.deliverAll()
		w.drained(t)
		w.inOrder(t)
	})
}

// The shard's consumer may overtake what looks ahead of it.
func TestWhatIsDeliveredBeforeItIsAnnouncedIsReadAtOnce(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 2)
		w.deliver(1)
		w.announce(1)
		w.publish("15550142233", 10)
		w.deliverAll()
		elapse(50 * time.Millisecond)
		w.inOrder(t)
		w.announce(10)
		w.rejoin()
		w.drained(t)
		w.inOrder(t)
	})
}

// What was delivered is in its lane or was settled, and is not read again.
func TestWhatWasDeliveredIsNotReadAhead(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 5)
		w.deliverAll()
		elapse(time.Second)
		if !w.session.Announce(6, 4) {
			t.Error("a session that keeps up is taken for one that does not")
		}
		elapse(time.Second)
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q", got)
		}
		w.inOrder(t)
	})
}

func TestASessionThatIsBehindIsNotTold(t *testing.T) {
	run(t, func(w *world) { w.least, w.platform.window = 5, 0 }, func(w *world) {
		w.publish("15550142233", 20)
		w.deliver(10)
		synctest.Wait()
		if !w.session.Behind() {
			t.Fatal("a session that is full is not behind")
		}
		if w.announce(1) {
			t.Error("a session that is behind for itself wants to be told")
		}
		w.deliverAll()
		w.platform.setWindow(4)
		w.session.Wake()
		w.drained(t)
		w.inOrder(t)
	})
}

// A session that was told of more than it can send has a backlog like any other.
func TestASessionThatIsToldTooMuchIsBehind(t *testing.T) {
	run(t, func(w *world) {
		w.least, w.platform.window = 5, 1
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			a := accept()
			a.after = 20 * time.Millisecond
			return a
		}
	}, func(w *world) {
		w.publish("15550142233", 100)
		if w.announce(100) {
			t.Error("it wants to be told of more")
		}
		if !w.session.Behind() {
			t.Error("it is not behind")
		}
		w.rejoin()
		w.deliverAll()
		w.drained(t)
		w.inOrder(t)
		w.sweep(3 * time.Second)
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q after it has caught up", got)
		}
	})
}

func TestASessionThatReadsAheadAndCannotSendIsBehind(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 10)
		w.deliver(5)
		w.announce(2)
		elapse(time.Second)
		w.platform.setWindow(0)
		w.publish("15550142244", 1)
		w.announce(3)
		w.deliverAll()
		w.sweep(time.Minute)
		w.rejoin()
		w.platform.setWindow(4)
		w.session.Wake()
		w.drained(t)
		w.inOrder(t)
	})
}

// What is announced and erased before it is read keeps nobody busy.
func TestWhatIsAnnouncedAndErasedIsPassedOver(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 2)
		w.deliverAll()
		reads := 0
		w.onRead = func() { reads++ }
		w.session.Announce(3, 7)
		elapse(time.Minute)
		if reads > 2 {
			t.Errorf("%d reads of what is gone", reads)
		}
		w.rejoin()
		w.sweep(3 * time.Second)
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q after it has rejoined", got)
		}
	})
}

func TestReadingAheadThroughKills(t *testing.T) {
	for budget := range 120 {
		run(t, func(w *world) { w.platform.window = 2 }, func(w *world) {
			for i := range 40 {
				w.publish([]string{"15550142233", "15550142244"}[i%2], 1)
			}
			w.deliver(5)
			w.mu.Lock()
			w.budget = budget
			w.mu.Unlock()
			for range 10 {
				w.announce(3)
				elapse(5 * time.Millisecond)
				w.deliver(1)
			}
			w.rejoin()
			w.deliver(10)
			w.sweep(2 * time.Second)
			w.kill()
			w.start()
			w.deliverAll()
			w.drained(t)
			w.inOrder(t)
			for _, d := range w.send {
				if got := w.word(d.Sequence); got != codec.StatusAccepted {
					t.Errorf("killed after %d steps: %d came to %q", budget, d.Sequence, got)
				}
			}
		})
	}
}

func TestReadingAheadThroughHandOvers(t *testing.T) {
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
			w.announce(40)
			elapse(time.Duration(moment) * time.Millisecond)
			w.handOver()
			w.start()
			w.deliverAll()
			w.drained(t)
			w.inOrder(t)
		})
	}
}

// What was sent ahead is not called expired by the process that comes after: no
// delivery says that it may have been sent.
func TestWhatWasSentAheadIsNotExpiredByTheNextOwner(t *testing.T) {
	run(t, func(w *world) {
		w.platform.answer = func(*bridge.Outgoing, int) answer { return answer{takes: true, after: time.Hour} }
	}, func(w *world) {
		w.publish("15550142233", 1)
		w.deliverAll()
		deadline := time.Now().Add(10 * time.Second).UTC().Format(time.RFC3339)
		sequence := w.publishWith("15550142244", map[string][]string{"Wa-Deadline": {deadline}})
		w.announce(1)
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

func TestTheCursorNamesMoreThanIsReadAhead(t *testing.T) {
	b := backlog{ahead: true}
	if got := b.reach(5); got != 5+aheadStride {
		t.Errorf("reaches to %d", got)
	}
	b.ahead = false
	if got := b.reach(math.MaxUint64); got != math.MaxUint64 {
		t.Errorf("reaches to %d", got)
	}
}
