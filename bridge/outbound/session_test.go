package outbound

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

func TestAcceptedIsAckedAfterItsOutcome(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 3)
		w.deliverAll()
		synctest.Wait()
		for sequence := uint64(1); sequence <= 3; sequence++ {
			if got := w.word(sequence); got != codec.StatusAccepted {
				t.Errorf("outcome of %d is %q", sequence, got)
			}
			if got := w.settlement(sequence); got != "ack" {
				t.Errorf("%d is settled by %q", sequence, got)
			}
		}
		if got, want := w.platform.arrivals("15550142233"), []string{"cmd-1", "cmd-2", "cmd-3"}; !slices.Equal(got, want) {
			t.Errorf("arrived %v, want %v", got, want)
		}
	})
}

func TestSettledCommandIsAckedAgainAndNotSentAgain(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publish("15550142233", 2)
		w.deliverAll()
		synctest.Wait()
		delete(w.settled, 1) // the ack was lost
		w.redeliver(1)
		synctest.Wait()
		if got := w.settlement(1); got != "ack" {
			t.Errorf("settled by %q", got)
		}
		if got := w.platform.sendCount(); got != 2 {
			t.Errorf("sent %d times", got)
		}
		if got := w.session.Settled(); len(got) != 2 {
			t.Errorf("remembers %v", got)
		}
		w.handOver()
		delete(w.settled, 2)
		w.start()
		w.deliverAll()
		synctest.Wait()
		if got := w.settlement(2); got != "ack" {
			t.Errorf("after a hand-over settled by %q", got)
		}
		if got := w.platform.sendCount(); got != 2 {
			t.Errorf("after a hand-over sent %d times", got)
		}
	})
}

func TestCommandReadFromTheBacklogIsNotSentAgain(t *testing.T) {
	run(t, func(w *world) { w.least, w.platform.window = 2, 0 }, func(w *world) {
		w.publish("15550142233", 20)
		w.deliverAll() // all but two are to be read
		synctest.Wait()
		w.platform.setWindow(1)
		w.session.Wake()
		w.drained(t)
		sends := w.platform.sendCount()
		w.session.memory = memory{} // as after very many
		for sequence := uint64(10); sequence <= 20; sequence++ {
			w.mu.Lock()
			delete(w.settled, sequence)
			w.mu.Unlock()
			w.redeliver(sequence)
		}
		synctest.Wait()
		if got := w.platform.sendCount(); got != sends {
			t.Errorf("sent %d times more", got-sends)
		}
	})
}

func TestReaderPassesOverWhatIsSettled(t *testing.T) {
	run(t, func(w *world) {
		w.least, w.platform.window = 100, 4
		w.platform.answer = func(out *bridge.Outgoing, _ int) answer {
			if out.Conversation == "15550140000" {
				return answer{result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeLane}}
			}
			return accept()
		}
	}, func(w *world) {
		w.publish("15550140000", 2)
		w.publish("15550142233", 10)
		w.deliverAll()
		synctest.Wait()
		w.session.Prune(0)
		w.platform.setWindow(0)
		w.sweep(10 * time.Second) // what waits is left to the reader
		w.session.Prune(12)
		w.session.Prune(12)
		w.session.Prune(12)
		w.platform.setWindow(4)
		w.session.Wake()
		w.sweep(5 * time.Second)
		if got := w.platform.arrivals("15550142233"); len(got) != 10 {
			t.Errorf("%d arrived", len(got))
		}
		for sequence := 3; sequence <= 12; sequence++ {
			if got := w.platform.sendsOf(w.send[sequence-1].Header["Nats-Msg-Id"][0]); got != 1 {
				t.Errorf("%d was sent %d times", sequence, got)
			}
		}
	})
}

func TestLostDeliveryTakesItsPlace(t *testing.T) {
	run(t, func(w *world) { w.platform.window = 0 }, func(w *world) {
		w.publish("15550142233", 4)
		w.redeliver(1)
		w.redeliver(4)
		w.redeliver(2)
		w.redeliver(3)
		w.platform.setWindow(4)
		w.session.Wake()
		synctest.Wait()
		if got, want := w.platform.arrivals(""), []string{"cmd-1", "cmd-2", "cmd-3", "cmd-4"}; !slices.Equal(got, want) {
			t.Errorf("arrived %v", got)
		}
	})
}

func TestRedeliveryReplacesTheSettler(t *testing.T) {
	run(t, func(w *world) { w.platform.window = 0 }, func(w *world) {
		w.publish("15550142233", 1)
		w.deliverAll()
		w.redeliver(1)
		w.redeliver(1)
		w.platform.setWindow(1)
		w.session.Wake()
		synctest.Wait()
		if got := w.platform.sendCount(); got != 1 {
			t.Errorf("sent %d times", got)
		}
		if got := w.settlement(1); got != "ack" {
			t.Errorf("settled by %q", got)
		}
	})
}

func TestCloseFinishesWhatIsInFlight(t *testing.T) {
	run(t, func(w *world) {
		w.platform.window = 1
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			a := accept()
			a.after = time.Second
			return a
		}
	}, func(w *world) {
		w.publish("15550142233", 1)
		w.publish("15550142244", 1)
		w.deliverAll()
		ctx, cancel := contextWithTimeout(time.Minute)
		defer cancel()
		if err := w.session.Close(ctx); err != nil {
			t.Error(err)
		}
		if got := w.settlement(1); got != "ack" {
			t.Errorf("what was in flight is settled by %q", got)
		}
		if got := w.word(2); got != "" {
			t.Errorf("what waited came to %q", got)
		}
		w.redeliver(2)
		if err := w.session.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	run(t, func(w *world) {
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			a := accept()
			a.after = time.Hour
			return a
		}
	}, func(w *world) {
		w.publish("15550142233", 1)
		w.deliverAll()
		ctx, cancel := contextWithTimeout(time.Second)
		defer cancel()
		if err := w.session.Close(ctx); err == nil {
			t.Error("no error though a send is unanswered")
		}
		elapse(2 * time.Hour) // the answer comes to nobody
	})
}

func TestConfigReportsEveryFault(t *testing.T) {
	_, err := New(Config{Env: &Env{}, Session: "a b", Policy: "perhaps", Limits: Limits{SessionRate: -1}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"session id", "names", "store", "outcomes", "reader", "cursors", "policy", "rate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	w := newWorld(t)
	s, err := New(Config{
		Env:     &Env{Names: w.names, Outcomes: outcomesFunc(nil), Reader: readerFunc(nil), Cursors: w.cursors.of(0)},
		Session: "shop", Store: storeFunc(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.platform.idempotent = false
	if err := s.SetPlatform(&connection{phone: w.platform}); err == nil {
		t.Error("a platform that needs a ledger was taken without one")
	}
	if _, err := NewOrphans(OrphansConfig{}); err == nil {
		t.Error("orphans without anything")
	}
}
