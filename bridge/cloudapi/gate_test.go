package cloudapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
)

// slowStore stores one thing after the other, each in its time. It implements
// Receiver and, like a session's store, takes a lot before it makes one wait.
type slowStore struct {
	each  time.Duration
	queue chan *bridge.Inbound

	mu     sync.Mutex
	stored map[string]int
}

func newSlowStore(each time.Duration) *slowStore {
	return &slowStore{each: each, queue: make(chan *bridge.Inbound, 4096), stored: make(map[string]int)}
}

func (s *slowStore) Receive(ctx context.Context, in *bridge.Inbound) error {
	select {
	case s.queue <- in:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowStore) run(ctx context.Context) {
	for {
		select {
		case in := <-s.queue:
			<-time.After(s.each)
			s.mu.Lock()
			s.stored[string(in.Data)]++
			s.mu.Unlock()
			in.Acker.Stored(in, nil)
		case <-ctx.Done():
			return
		}
	}
}

// counts says how many were stored, and how many times more than once.
func (s *slowStore) counts() (once, again int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.stored {
		again += n - 1
	}
	return len(s.stored), again
}

// A store that takes 100 a second is posted 1,200 messages at once, each again
// and again until it is taken. It stores hardly anything twice, and a session
// beside it notices nothing.
func TestSlowStoreIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages, each = 1200, 10 * time.Millisecond
		slow, other := newSlowStore(each), newSlowStore(0)
		routes := NewRoutes()
		for phone, store := range map[string]*slowStore{"1": slow, "2": other} {
			if err := routes.Add(Route{Session: "s" + phone, PhoneNumberID: phone, AppSecret: testSecret, Receiver: store}); err != nil {
				t.Fatal(err)
			}
		}
		h, err := NewWebhooks(WebhooksConfig{Routes: routes, Unrouted: other, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var stores, senders sync.WaitGroup
		stores.Go(func() { slow.run(ctx) })
		stores.Go(func() { other.run(ctx) })
		post := func(phone string, i int) int {
			body := message(phone, fmt.Sprintf("wamid.%d", i), `"x"`)
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, WebhookPath, bytes.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set(signatureHeader, sign(testSecret, body))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		begun := time.Now()
		for i := range messages {
			senders.Go(func() {
				for post("1", i) != http.StatusOK {
					<-time.After(2 * time.Second)
				}
			})
		}
		for i := range 50 {
			<-time.After(100 * time.Millisecond)
			if status := post("2", i); status != http.StatusOK {
				t.Errorf("the other session: status %d", status)
			}
		}
		senders.Wait()
		took := time.Since(begun)
		once, again := slow.counts()
		if once != messages || again > 0 {
			t.Errorf("%d stored, %d of them again, in %v", once, again, took)
		}
		if least := messages * each; took > 2*least {
			t.Errorf("it took %v, and %v would do", took, least)
		}
		cancel()
		stores.Wait()
		h.Close()
	})
}
