package outbound

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

func TestWhoGivesUpFlushingLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		slow := make(chan struct{})
		cfg := &Config{Env: &Env{Names: w.names, Outcomes: outcomesFunc(w.outcome)}}
		cfg.setDefaults()
		cfg.Store = storeFunc(func(ctx context.Context, r *bridge.Record) error {
			select {
			case <-slow:
			case <-ctx.Done():
				return ctx.Err()
			}
			r.Done(bridge.Stored{Sequence: 1})
			return nil
		})
		l := &life{}
		settle := newSettlement(cfg, l, func(*command) bridge.Settler { return nil })
		// A writer has just found the queue empty and ended.
		c := newCommand(&bridge.Delivery{Session: "shop", Sequence: 7, Body: []byte(`{"to":"+15550142233","type":"text","text":{"body":"a"}}`)}, time.Now())
		if err := c.decode("WA_SEND", time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		c.outcome = outcome{word: codec.StatusAccepted, class: codec.Accepted, id: "wamid.1"}
		settle.queue, settle.open = []*command{c}, 1

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := settle.flush(ctx); err == nil {
			t.Error("stored though the store was full")
		}
		close(slow)
		synctest.Wait()
		if settle.open != 0 {
			t.Error("the outcome is not stored: nobody tries again")
		}
		l.end()
		settle.workers.Wait()
	})
}

// blockingKV holds the first write of a key until it is released.
type blockingKV struct {
	bridge.KV
	begun, release chan struct{}
}

func (b *blockingKV) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	close(b.begun)
	<-b.release
	return b.KV.Create(ctx, key, value)
}

func (b *blockingKV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if !pause(ctx, time.Second) { // as long as a bucket may take
		return 0, ctx.Err()
	}
	return b.KV.Update(ctx, key, value, revision)
}

func TestCloseWaitsUntilTheLedgerKnowsWhatWasNotSent(t *testing.T) {
	kv := &blockingKV{}
	run(t, func(w *world) {
		kv.begun, kv.release = make(chan struct{}), make(chan struct{})
		w.useLedger()
		w.configure = func(c *Config) {
			if kv.KV == nil {
				kv.KV = c.Ledger
				c.Ledger = kv
			}
		}
	}, func(w *world) {
		w.publish("15550142233", 1)
		w.deliverAll()
		<-kv.begun
		w.platform.setWindow(0) // the connection is lost before the attempt is noted
		closed := make(chan error, 1)
		go func() {
			ctx, cancel := contextWithTimeout(10 * time.Second)
			defer cancel()
			closed <- w.session.Close(ctx)
		}()
		synctest.Wait()
		close(kv.release)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		w.platform.setWindow(8)
		w.start()
		w.deliverAll()
		w.sweep(5 * time.Second)
		if word := w.word(1); word != codec.StatusAccepted {
			t.Errorf("outcome %q, want accepted: it was never sent before", word)
		}
	})
}

func TestAFollowerKnowsWhatIsSettled(t *testing.T) {
	run(t, nil, func(w *world) {
		s := w.session
		if err := s.Follow(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		below, above := s.isSettled(20), s.isSettled(21)
		s.mu.Unlock()
		if !below || above {
			t.Errorf("20 settled: %v, 21 settled: %v", below, above)
		}
		if _, err := w.cursors.of(w.started).Create(t.Context(), "shop", formatCursor(25, 30)); err != nil {
			t.Fatal(err)
		}
		if err := s.Follow(t.Context(), 40); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.isSettled(24) || s.isSettled(25) {
			t.Error("what the backlog has still to read counts as settled")
		}
	})
}
