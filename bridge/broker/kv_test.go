package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

func bucket(t *testing.T, b *Broker, kind string) bridge.KV {
	t.Helper()
	kv, err := b.KV(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestKV(t *testing.T) {
	b := open(t, bridgetest.NATS(t))
	kv := bucket(t, b, State)
	ctx := t.Context()
	if _, err := kv.Get(ctx, "a"); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("Get of nothing: %v", err)
	}
	if err := kv.Delete(ctx, "a"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	first, err := kv.Create(ctx, "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(ctx, "a", []byte("2")); !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("Create of what exists: %v", err)
	}
	second, err := kv.Update(ctx, "a", []byte("2"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(ctx, "a", []byte("3"), first); !errors.Is(err, bridge.ErrConflict) {
		t.Errorf("Update over an old revision: %v", err)
	}
	got, err := kv.Get(ctx, "a")
	if err != nil || got.Key != "a" || string(got.Value) != "2" || got.Revision != second {
		t.Errorf("Get = %+v, %v", got, err)
	}
	if _, err := kv.Put(ctx, "b.c", []byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := kv.Put(ctx, "gone", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := kv.Delete(ctx, "gone"); err != nil {
		t.Error(err)
	}
	if _, err := kv.Get(ctx, "gone"); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("Get of what was deleted: %v", err)
	}
	all, err := kv.All(ctx)
	keys := make(map[string]string)
	for _, e := range all {
		keys[e.Key] = string(e.Value)
	}
	if err != nil || !maps.Equal(keys, map[string]string{"a": "2", "b.c": "x"}) {
		t.Errorf("All = %v, %v", keys, err)
	}
	if empty, err := bucket(t, b, Ledger).All(ctx); err != nil || len(empty) != 0 {
		t.Errorf("All of an empty bucket = %v, %v", empty, err)
	}
	if _, err := kv.Create(ctx, "gone", []byte("y")); err != nil {
		t.Errorf("Create of what was deleted: %v", err)
	}
}

// watcher keeps what a watch says, in words.
type watcher struct {
	mu    sync.Mutex
	words []string
}

func (w *watcher) see(e *bridge.Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case e == nil:
		w.words = append(w.words, "all")
	case e.Deleted:
		w.words = append(w.words, "-"+e.Key)
	default:
		w.words = append(w.words, e.Key+"="+string(e.Value))
	}
}

func (w *watcher) await(t *testing.T, want ...string) {
	t.Helper()
	bridgetest.Eventually(t, long, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Equal(w.words, want)
	}, "want %v, have %v", want, w)
}

func (w *watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprint(w.words)
}

func TestWatchMakesGoodWhatARestartMissed(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	// It writes while the first is cut off.
	kv := bucket(t, b, Sessions)
	put := func(key, value string) {
		t.Helper()
		bridgetest.Eventually(t, long, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := kv.Put(ctx, key, []byte(value))
			return err == nil
		}, "writing %s", key)
	}
	put("a", "0")
	put("gone", "0")
	if err := kv.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	put("a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	var w, empty watcher
	var wg sync.WaitGroup
	watch := func(kv bridge.KV, w *watcher) {
		wg.Go(func() {
			if err := kv.Watch(ctx, w.see); !errors.Is(err, context.Canceled) {
				t.Errorf("Watch ended with %v", err)
			}
		})
	}
	watch(kv, &w)
	watch(bucket(t, b, Tokens), &empty)
	empty.await(t, "all")
	w.await(t, "a=1", "all")
	put("b", "1")
	w.await(t, "a=1", "all", "b=1")
	s.Restart(t)
	put("c", "1")
	bridgetest.Eventually(t, long, func() bool { return kv.Delete(t.Context(), "b") == nil }, "deleting b")
	w.await(t, "a=1", "all", "b=1", "c=1", "-b")
	cancel()
	wg.Wait()
}
