package app

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// event has a session store its n-th event.
func (h *house) event(t *testing.T, session string, n uint64) {
	t.Helper()
	data := fmt.Sprintf(`{"message":{"from":"15550142233","id":"wamid.%s%d","timestamp":"%d","type":"text","text":{"body":"hi"}}}`,
		session, n, time.Now().Unix())
	done := make(stored, 1)
	err := h.running(session).Receive(t.Context(), &bridge.Inbound{
		Kind: bridge.KindMessage, Data: []byte(data), Epoch: "e1", Sequence: n, Acker: done,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// at expects where a session stands once it runs.
func (h *house) at(t *testing.T, session string, want uint64) {
	t.Helper()
	bridgetest.Eventually(t, long, func() bool { return h.running(session) != nil })
	if got, err := h.running(session).Position(t.Context(), "e1"); err != nil || got != want {
		t.Errorf("session %s stands at %d, %v; want %d", session, got, err, want)
	}
}

// saved reads what is saved for the shard.
func (h *house) saved(t *testing.T) positions {
	t.Helper()
	e, err := h.state.Get(t.Context(), positionsKey(0))
	if err != nil {
		t.Fatal(err)
	}
	var p positions
	if err := json.Unmarshal(e.Value, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPositionsOutliveTheirOwner(t *testing.T) {
	h := newHouse(t, "shop", "support")
	life := func() *shard {
		h.Start(0, nil)
		s := h.shard(0)
		<-s.begun
		return s
	}
	life()
	h.at(t, "shop", 0)
	for n := range uint64(3) {
		h.event(t, "shop", n+1)
	}
	h.Drop(0) // before anything was saved
	s := life()
	h.at(t, "shop", 3)

	reached, ok := h.reached(t.Context())
	if !ok {
		t.Fatal("the end of what is stored is not known")
	}
	if err := s.savePositions(t.Context(), reached, 1); err != nil {
		t.Fatal(err)
	}
	if p := h.saved(t); p.Recv != reached || p.Sessions["shop"].Sequence != 3 || len(p.Sessions) != 1 {
		t.Errorf("saved %+v; want shop at 3, and the rest behind %d", p, reached)
	}
	h.event(t, "shop", 4)
	h.event(t, "support", 1)
	h.Drop(0)
	life()
	h.at(t, "shop", 4)
	h.at(t, "support", 1)

	// One that is removed for a while, and defined again, goes on.
	h.definitions.mu.Lock()
	shop := h.definitions.fixed["shop"]
	delete(h.definitions.fixed, "shop")
	h.definitions.mu.Unlock()
	h.redefine("shop")
	bridgetest.Eventually(t, long, func() bool { return h.running("shop") == nil })
	h.event(t, "support", 2)
	h.HandOver(t.Context(), 0)
	if p := h.saved(t); p.Sessions["shop"].Sequence != 4 || p.Sessions["support"].Sequence != 2 {
		t.Errorf("handed over %+v; want shop at 4 and support at 2", p)
	}
	life()
	h.definitions.mu.Lock()
	h.definitions.fixed["shop"] = shop
	h.definitions.mu.Unlock()
	h.redefine("shop")
	h.at(t, "shop", 4)
	h.at(t, "support", 2)
}

func TestPositionsThatCannotBeRead(t *testing.T) {
	h := newHouse(t, "shop")
	h.Start(0, nil)
	h.at(t, "shop", 0)
	h.event(t, "shop", 1)
	h.Drop(0)
	if _, err := h.state.Put(t.Context(), positionsKey(0), []byte("{")); err != nil {
		t.Fatal(err)
	}
	h.Start(0, nil)
	h.at(t, "shop", 1)
}

// Shards that begin while another one's past is read share the next pass.
func TestShardsBeginTogether(t *testing.T) {
	h := newHouse(t, "shop")
	h.Start(0, nil)
	h.at(t, "shop", 0)
	h.event(t, "shop", 1)
	scans, err := h.broker.Conn().SubscribeSync("$JS.API.CONSUMER.CREATE.WA_RECV.>")
	if err != nil {
		t.Fatal(err)
	}
	h.recall.turn <- struct{}{}
	var group sync.WaitGroup
	for n := range 20 {
		group.Go(func() {
			p, err := h.recall.of(t.Context(), n%4)
			if want := n%4 == bridge.Shard("shop", h.host.shards); err != nil || want != (p.Sessions["shop"].Sequence == 1) {
				t.Errorf("shard %d: %+v, %v", n%4, p, err)
			}
		})
	}
	bridgetest.Eventually(t, long, func() bool {
		h.recall.mu.Lock()
		defer h.recall.mu.Unlock()
		return h.recall.next != nil && len(h.recall.next.found) == 4
	})
	<-h.recall.turn
	group.Wait()
	if n, _, err := scans.Pending(); err != nil || n > 2 {
		t.Errorf("%d scans, %v; want one for all, or two", n, err)
	}
}
