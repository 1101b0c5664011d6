package app

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/telemetry"
	"wabridge/codec"
)

// house is a host with one shard and sessions that are paused.
type house struct {
	*host
	*fleet
}

func newHouse(t *testing.T, sessions ...string) *house {
	t.Helper()
	var cfg Config
	for _, id := range sessions {
		cfg.Sessions = append(cfg.Sessions, bridge.Definition{ID: id, Platform: bridge.PlatformChatAPI, Paused: true})
	}
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "wabridge", Output: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	h, err := newHost(t.Context(), cfg, ground(t), tel)
	if err != nil {
		t.Fatal(err)
	}
	h.fleet = newFleet(h)
	h.may, h.drain = func() bool { return true }, long
	// The fleet outlives the test: t's context ends before the shards are dropped.
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() { defer close(ended); h.fleet.run(ctx) }()
	telling, hush := context.WithCancel(context.WithoutCancel(t.Context()))
	told := make(chan struct{})
	go func() { defer close(told); h.announcer.run(telling) }()
	t.Cleanup(func() {
		h.fleet.Drop(0)
		cancel()
		<-ended
		hush()
		<-told
		if err := h.cloud.close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return &house{host: h, fleet: h.fleet}
}

// send publishes a command and returns its sequence.
func (h *house) send(t *testing.T, session, id, body string) uint64 {
	t.Helper()
	msg := nats.NewMsg(h.names.Send(session))
	msg.Header.Set("Nats-Msg-Id", id)
	msg.Data = []byte(body)
	ack, err := h.broker.JetStream().PublishMsg(t.Context(), msg)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

const good = `{"to":"+15550142233","type":"text","text":{"body":"hello"}}`

func TestASessionDefinedAgainKnowsWhatIsSettled(t *testing.T) {
	h := newHouse(t, "held", "shop")
	h.send(t, "held", "a", good) // waits, and keeps the ack floor where it is
	settled := h.send(t, "shop", "b", "no command")
	h.Start(0, nil)
	knows := func() bool {
		one := h.running("shop")
		return one != nil && slices.Contains(one.out.Settled(), settled)
	}
	bridgetest.Eventually(t, long, knows)
	held := h.running("held")
	h.definitions.mu.Lock()
	delete(h.definitions.fixed, "shop")
	h.definitions.mu.Unlock()
	h.redefine("shop")
	bridgetest.Eventually(t, long, func() bool { return h.running("shop") == nil })
	s := h.shard(0)
	s.turn.Lock() // the session has ended; whatever the consumer brings again comes after it
	if !slices.Contains(s.settled["shop"], settled) {
		t.Error("what the session before has settled is forgotten")
	}
	h.definitions.mu.Lock()
	h.definitions.fixed["shop"] = &bridge.Definition{ID: "shop", Platform: bridge.PlatformChatAPI, Paused: true}
	h.definitions.mu.Unlock()
	s.turn.Unlock()
	h.redefine("shop")
	bridgetest.Eventually(t, long, knows)
	h.redefine("held")
	note := readNote(h.HandOver(t.Context(), 0))
	if !slices.Contains(note["shop"], settled) {
		t.Errorf("the note for the next owner is %v", note)
	}
	if !held.closing.Load() {
		t.Error("a session outlives its shard")
	}
}

func TestAShardThatIsLostAndGainedAtOnceRuns(t *testing.T) {
	h := newHouse(t, "shop")
	for range 50 {
		h.Start(0, nil)
		h.Drop(0)
	}
	h.Start(0, nil)
	s := h.shard(0)
	if s == nil {
		t.Fatal("the shard does not run")
	}
	<-s.begun
	if s.ctx.Err() != nil || h.running("shop") == nil {
		t.Error("the end of a former life ended the new one")
	}
}

func TestWhatAnUnknownSessionWasRefusedIsNotSentOnceItIsKnown(t *testing.T) {
	h := newHouse(t, "held")
	h.send(t, "held", "a", good)
	refused := h.send(t, "shop", "b", good)
	h.Start(0, nil)
	s := h.shard(0)
	bridgetest.Eventually(t, long, func() bool {
		s.orphans.Sweep(time.Now().Add(time.Minute))
		return slices.Contains(s.orphans.Settled(), refused)
	})
	note := readNote(h.HandOver(t.Context(), 0))
	if !slices.Contains(note[noSession], refused) {
		t.Fatalf("the note for the next owner is %v", note)
	}
}

func TestAVisitorKnowsWhatTheOwnerHasSettled(t *testing.T) {
	h := newHouse(t)
	sequence := h.send(t, "shop", "b", good)
	var acked atomic.Bool
	c, err := h.broker.Consume(t.Context(), 0, func(d *bridge.Delivery) { acked.Store(d.Settler.Ack() == nil) })
	if err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, long, func() bool {
		floor, err := h.broker.AckFloor(t.Context(), 0)
		return err == nil && floor == sequence
	})
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	callback, err := codec.Callback{Sequence: sequence, Ref: "b"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"id":"wamid.1","status":"delivered","timestamp":"%d","recipient_id":"15550142233","biz_opaque_callback_data":%q}`,
		time.Now().Unix(), callback)
	stored := make(stored, 1)
	err = receiver{cloud: h.cloud, session: "shop"}.Receive(t.Context(),
		&bridge.Inbound{Kind: bridge.KindStatus, Data: []byte(body), Acker: stored})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	n := 0
	err = h.broker.ScanRecv(t.Context(), 1, func(string, map[string][]string) error { n++; return nil })
	if err != nil || n != 1 {
		t.Errorf("%d records, %v: want the status alone, as its command is settled", n, err)
	}
}

type stored chan error

func (s stored) Stored(_ *bridge.Inbound, err error) { s <- err }

func TestASessionIsWaitedForOnlyWhereItIsAlone(t *testing.T) {
	h := newHouse(t, "shop")
	h.Start(0, nil)
	s := h.shard(0)
	<-s.begun
	if s.patience() == 0 {
		t.Error("a session that is alone goes to its backlog at once")
	}
	h.definitions.mu.Lock()
	h.definitions.fixed["other"] = &bridge.Definition{ID: "other", Platform: bridge.PlatformChatAPI, Paused: true}
	h.definitions.mu.Unlock()
	h.redefine("other")
	bridgetest.Eventually(t, long, func() bool { return h.running("other") != nil })
	if wait := s.patience(); wait != 0 {
		t.Errorf("a flood holds another session up for %v with each command", wait)
	}
}
