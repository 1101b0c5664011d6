package outbound

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

func (w *world) observe(t *testing.T, sequence uint64, ref string) {
	t.Helper()
	ctx, cancel := contextWithTimeout(time.Second)
	defer cancel()
	st := &codec.Status{ID: "wamid." + ref, Status: "delivered"}
	if err := w.session.Observe(ctx, st, codec.Callback{Sequence: sequence, Ref: ref}); err != nil {
		t.Errorf("observing a status of %d: %v", sequence, err)
	}
}

func silent() answer { return answer{result: bridge.Result{Class: codec.Unknown}, takes: true} }

func TestStatusResolvesAnUnansweredSend(t *testing.T) {
	run(t, func(w *world) {
		w.useLedger()
		w.platform.answer = func(_ *bridge.Outgoing, nth int) answer {
			if nth == 1 {
				return silent()
			}
			return accept()
		}
	}, func(w *world) {
		w.publish("15550142233", 2)
		w.deliverAll()
		w.sweep(30 * time.Second)
		if got := w.platform.arrivals(""); len(got) != 1 {
			t.Errorf("the lane did not wait: %v", got)
		}
		w.observe(t, 1, "cmd-1")
		w.sweep(time.Second)
		for sequence := uint64(1); sequence <= 2; sequence++ {
			if got := w.word(sequence); got != codec.StatusAccepted {
				t.Errorf("%d came to %q", sequence, got)
			}
		}
		if got := w.outcomes(1); len(got) == 1 && got[0].ID != "wamid.cmd-1" {
			t.Errorf("id %q", got[0].ID)
		}
	})
}

func TestStatusThatOvertakesTheAnswer(t *testing.T) {
	for _, ledger := range []bool{false, true} {
		run(t, func(w *world) {
			if ledger {
				w.useLedger()
			}
			w.platform.answer = func(*bridge.Outgoing, int) answer {
				a := accept()
				a.after = time.Second
				return a
			}
		}, func(w *world) {
			w.publish("15550142233", 2)
			w.deliverAll()
			elapse(100 * time.Millisecond)
			w.observe(t, 1, "cmd-1")
			synctest.Wait()
			if got := w.word(1); got != codec.StatusAccepted {
				t.Errorf("came to %q", got)
			}
			if got := w.platform.sendCount(); got != 1 {
				t.Errorf("the lane went on before the platform's answer: %d sends", got)
			}
			w.sweep(5 * time.Second)
			if got := w.word(2); got != codec.StatusAccepted {
				t.Errorf("the next came to %q", got)
			}
		})
	}
}

func TestStatusOfAnotherProcess(t *testing.T) {
	for _, ledger := range []bool{false, true} {
		run(t, func(w *world) {
			if ledger {
				w.useLedger()
			}
			w.platform.answer = func(_ *bridge.Outgoing, nth int) answer {
				if nth == 1 {
					return silent()
				}
				return accept()
			}
		}, func(w *world) {
			w.publish("15550142233", 1)
			w.deliverAll()
			synctest.Wait()
			w.kill()
			w.start()
			w.observe(t, 1, "cmd-1") // before it was delivered here
			synctest.Wait()
			if got := w.word(1); got != codec.StatusAccepted {
				t.Errorf("came to %q", got)
			}
			sends := w.platform.sendCount()
			w.deliverAll()
			w.sweep(2 * time.Minute)
			if got := w.settlement(1); got != "ack" {
				t.Errorf("settled by %q", got)
			}
			if got := w.platform.sendCount(); got != sends {
				t.Errorf("sent again: %d", got)
			}
		})
	}
}

func TestStatusOfSomethingElse(t *testing.T) {
	run(t, func(w *world) { w.platform.window = 0 }, func(w *world) {
		w.publish("15550142233", 2)
		w.deliver(1)
		w.observe(t, 1, "of-a-stream-before") // in hand, with another ref
		w.observe(t, 2, "of-a-stream-before") // not in hand
		w.observe(t, 99, "cmd-99")            // never published
		w.session.Prune(50)
		w.observe(t, 50, "cmd-50") // settled long ago
		synctest.Wait()
		if len(w.records) != 0 {
			t.Errorf("%d records", len(w.records))
		}
	})
}

func TestObserveWaitsForTheOutcome(t *testing.T) {
	release := make(chan struct{})
	run(t, func(w *world) {
		w.configure = func(c *Config) {
			inner := c.Store
			c.Store = storeFunc(func(ctx context.Context, r *bridge.Record) error {
				select {
				case <-release:
				case <-ctx.Done():
					return ctx.Err()
				}
				return inner.Put(ctx, r)
			})
		}
	}, func(w *world) {
		release = make(chan struct{})
		w.publish("15550142233", 1)
		w.deliverAll()
		synctest.Wait()
		observed := make(chan struct{})
		go func() {
			defer close(observed)
			w.observe(t, 1, "cmd-1")
		}()
		synctest.Wait()
		select {
		case <-observed:
			t.Error("observed before the outcome was in the store's order")
		default:
		}
		ctx, cancel := contextWithTimeout(100 * time.Millisecond)
		defer cancel()
		if err := w.session.Observe(ctx, &codec.Status{}, codec.Callback{Sequence: 1, Ref: "cmd-1"}); err == nil {
			t.Error("no error though the store is behind")
		}
		close(release)
		<-observed
	})
}
