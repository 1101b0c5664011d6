package outbound

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
)

// drained waits until every command has its outcome.
func (w *world) drained(t *testing.T) {
	t.Helper()
	for range 600 {
		w.sweep(time.Second)
		if w.finished() {
			return
		}
	}
	t.Errorf("not drained: %d arrived of %d", len(w.platform.arrivals("")), len(w.send))
}

// inOrder checks that everything arrived once, in the order of WA_SEND.
func (w *world) inOrder(t *testing.T) {
	t.Helper()
	arrived := w.platform.arrivals("")
	if len(arrived) != len(w.send) {
		t.Errorf("%d arrived, want %d", len(arrived), len(w.send))
	}
	for _, conversation := range []string{"15550142233", "15550142244"} {
		var sequences []uint64
		for _, ref := range w.platform.arrivals(conversation) {
			sequence, err := parseRef(ref)
			if err != nil {
				t.Fatal(err)
			}
			sequences = append(sequences, sequence)
		}
		if !slices.IsSorted(sequences) {
			t.Errorf("%s got %v", conversation, sequences)
		}
	}
}

func (w *world) cursor() string {
	w.cursors.mu.Lock()
	defer w.cursors.mu.Unlock()
	return string(w.cursors.values["shop"].Value)
}

func TestSessionThatCannotSendHoldsNothing(t *testing.T) {
	run(t, func(w *world) { w.platform.window = 0 }, func(w *world) {
		for range 100 {
			w.publish("15550142233", 1)
			w.publish("15550142244", 1)
		}
		w.deliverAll()
		w.sweep(4 * time.Second)
		if got := w.cursor(); got != "" {
			t.Fatalf("cursor %q after 4 s", got)
		}
		w.sweep(time.Hour)
		if got := w.cursor(); got != "1 0" {
			t.Errorf("cursor %q, want %q", got, "1 0")
		}
		w.publish("15550142233", 100)
		w.deliverAll()
		synctest.Wait()
		for _, d := range w.send {
			if w.settlement(d.Sequence) != "ack" {
				t.Fatalf("%d takes room in its shard", d.Sequence)
			}
		}
		if got := w.session.load(time.Now()); got.held != 0 || got.behind != 300 || got.oldest < time.Hour {
			t.Errorf("load %+v", got)
		}
		w.platform.setWindow(8)
		w.session.Wake()
		w.drained(t)
		w.inOrder(t)
		w.sweep(3 * time.Second)
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q after it has caught up", got)
		}
	})
}

func TestFloodIsReadInOrderWhileItGoesOn(t *testing.T) {
	run(t, func(w *world) {
		w.least, w.platform.window = 10, 2
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			a := accept()
			a.after = 3 * time.Millisecond
			return a
		}
	}, func(w *world) {
		for i := range 500 {
			w.publish([]string{"15550142233", "15550142244"}[i%2], 1)
			w.deliverAll()
			if held := w.session.load(time.Now()).held; held > 20 {
				t.Fatalf("%d are held", held)
			}
			elapse(time.Duration(i%4) * time.Millisecond)
		}
		w.drained(t)
		w.inOrder(t)
	})
}

func TestBacklogThroughKills(t *testing.T) {
	throughKills(t, 5, 0, (*world).deliverAll)
}

// A session is handed over in the middle of its backlog, at whatever moment:
// what its reader comes back with then belongs to the next owner.
func TestBacklogThroughHandOvers(t *testing.T) {
	for moment := range 60 {
		run(t, func(w *world) {
			w.least, w.platform.window = 5, 30 // nothing waits: all that is in hand lands
			w.platform.answer = func(*bridge.Outgoing, int) answer {
				a := accept()
				a.after = 3 * time.Millisecond
				return a
			}
		}, func(w *world) {
			for i := range 200 {
				w.publish(fmt.Sprintf("1555%07d", i), 1)
			}
			w.deliverAll()
			elapse(time.Duration(moment) * 500 * time.Microsecond)
			ctx, cancel := contextWithTimeout(time.Minute)
			defer cancel()
			if err := w.session.Close(ctx); err != nil {
				t.Error(err)
			}
			w.handed = w.session.Settled()
			w.start()
			w.deliverAll()
			w.drained(t)
			w.inOrder(t)
		})
	}
}

func TestNothingIsLeftUnreadWithoutPermission(t *testing.T) {
	allowed := false
	run(t, func(w *world) {
		w.least = 2
		w.configure = func(c *Config) { c.May = func() bool { return allowed } }
	}, func(w *world) {
		w.publish("15550142233", 20)
		w.deliverAll()
		w.sweep(time.Minute)
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q", got)
		}
		for _, d := range w.send {
			if got := w.settlement(d.Sequence); got != "" {
				t.Errorf("%d is settled by %q", d.Sequence, got)
			}
		}
		allowed = true
		w.drained(t)
		w.inOrder(t)
	})
}

func TestErasedCommandsDoNotHoldTheReaderUp(t *testing.T) {
	run(t, func(w *world) { w.least, w.platform.window = 2, 0 }, func(w *world) {
		w.publish("15550142233", 20)
		w.deliverAll()
		w.sweep(10 * time.Second)
		w.mu.Lock()
		w.send = slices.Delete(w.send, 5, 20)
		w.delivered = 5
		w.mu.Unlock()
		w.platform.setWindow(8)
		w.session.Wake()
		w.sweep(2 * time.Second)
		w.session.mu.Lock()
		on := w.session.back.on
		w.session.mu.Unlock()
		if on {
			t.Error("still in its backlog")
		}
		w.drained(t)
	})
}

func TestCursorOfAnotherOwnerIsReadBefore(t *testing.T) {
	run(t, nil, func(w *world) {
		w.stop()
		w.publish("15550142233", 10)
		kv := w.cursors.of(w.run)
		if _, err := kv.Create(t.Context(), "shop", []byte("4 6")); err != nil {
			t.Fatal(err)
		}
		for sequence := range uint64(10) {
			w.settled[sequence+1] = "ack" // unread, or settled
		}
		w.start()
		w.sweep(3 * time.Second)
		want := make([]string, 0, 7)
		for i := 4; i <= 10; i++ {
			want = append(want, fmt.Sprint("cmd-", i))
		}
		if got := w.platform.arrivals(""); !slices.Equal(got, want) {
			t.Errorf("arrived %v, want %v", got, want)
		}
	})
}

func TestPatienceKeepsAFloodOutOfTheBacklog(t *testing.T) {
	run(t, func(w *world) {
		w.least, w.platform.window = 10, 2
		w.configure = func(c *Config) { c.Patience = func() time.Duration { return time.Second } }
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			a := accept()
			a.after = 3 * time.Millisecond
			return a
		}
	}, func(w *world) {
		w.publish("15550142233", 100)
		w.deliverAll()
		if got := w.cursor(); got != "" {
			t.Errorf("cursor %q", got)
		}
		w.drained(t)
	})
}

func TestCursorValues(t *testing.T) {
	for _, test := range []struct {
		value         string
		from, touched uint64
		bad           bool
	}{
		{"", 0, 0, false},
		{"7", 7, 0, false},
		{"7 9", 7, 9, false},
		{"x", 0, 0, true},
		{"7 x", 0, 0, true},
		{"7 " + strconv.FormatUint(1<<63, 10) + "0", 0, 0, true},
	} {
		from, touched, err := ParseCursor([]byte(test.value))
		if from != test.from && !test.bad || touched != test.touched || (err != nil) != test.bad {
			t.Errorf("%q: %d, %d, %v", test.value, from, touched, err)
		}
	}
}

func TestMemoryForgetsWhatCannotComeAgain(t *testing.T) {
	var m memory
	for sequence := range uint64(3 * generation) {
		m.add(sequence + 1)
	}
	if held := len(m.young) + len(m.old); held > 2*generation {
		t.Errorf("remembers %d", held)
	}
	if !m.has(3*generation) || !m.has(2*generation) || m.has(1) {
		t.Error("forgot the wrong ones")
	}
	m.prune(3 * generation)
	m.prune(3 * generation)
	m.prune(3 * generation)
	if left := m.above(0); len(left) != 0 {
		t.Errorf("%d are left", len(left))
	}
	m.add(5)
	m.prune(4)
	m.prune(4)
	if !m.has(5) {
		t.Error("forgot what can come again")
	}
}

func TestDrainThatIsInterrupted(t *testing.T) {
	run(t, func(w *world) {
		w.least, w.platform.window = 10, 2
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			a := accept()
			a.after = 20 * time.Millisecond
			return a
		}
	}, func(w *world) {
		for i := range 200 {
			w.publish([]string{"15550142233", "15550142244"}[i%2], 1)
		}
		w.deliverAll()
		for range 5 {
			elapse(110 * time.Millisecond)
			w.platform.setWindow(0)
			w.sweep(20 * time.Second)
			if held := w.session.load(time.Now()).held; held > 0 {
				t.Errorf("%d are held", held)
			}
			w.platform.setWindow(2)
			w.session.Wake()
		}
		w.drained(t)
		w.inOrder(t)
	})
}

func TestWhatIsDeliveredDuringTheLastReadIsRead(t *testing.T) {
	for at := range 80 {
		run(t, func(w *world) { w.platform.window = 0 }, func(w *world) {
			w.publish("15550142233", 3)
			w.deliverAll()
			w.sweep(10 * time.Second)
			w.platform.setWindow(4)
			w.session.Wake()
			elapse(time.Duration(at) * 100 * time.Microsecond) // a read takes 1 ms
			w.publish("15550142233", 1)
			w.deliverAll()
			w.drained(t)
			w.inOrder(t)
		})
	}
}
