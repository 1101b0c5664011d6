package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/outbound"
	"wabridge/codec"
)

// taker is a platform that accepts everything at once.
type taker struct {
	window int
	mu     sync.Mutex
	took   []string
}

func (p *taker) Run(context.Context) error { return nil }
func (p *taker) Resume()                   {}
func (p *taker) Idempotent() bool          { return true }
func (p *taker) Window() int               { return p.window }

func (p *taker) Send(out *bridge.Outgoing) {
	p.mu.Lock()
	p.took = append(p.took, out.Ref)
	p.mu.Unlock()
	go out.Done(bridge.Result{Class: codec.Accepted, ID: "wamid." + out.Ref})
}

// await waits until exactly these were sent.
func (p *taker) await(t *testing.T, want ...string) {
	t.Helper()
	bridgetest.Eventually(t, long, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.took) >= len(want)
	}, "fewer than %d were sent", len(want))
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.took, want) {
		t.Errorf("sent %v, want %v", p.took, want)
	}
}

// acked counts acks.
type acked struct{ n atomic.Int64 }

func (a *acked) Ack() error                  { a.n.Add(1); return nil }
func (a *acked) TermWithReason(string) error { return nil }
func (a *acked) InProgress() error           { return nil }

// street is a shard whose consumer is the test, with a session that cannot send
// and one that can.
type street struct {
	*house
	*shard
	quiet *taker
	acks  acked
}

func newStreet(t *testing.T) *street {
	t.Helper()
	st := &street{house: newHouse(t), quiet: &taker{window: 8}}
	st.shard = newShard(0, st.house.host, nil)
	for id, platform := range map[string]*taker{"loud": {}, "quiet": st.quiet} {
		store := st.broker.NewStore(id)
		out, err := outbound.New(outbound.Config{
			Session: id, Names: st.names, Created: time.Unix(1, 0), Store: store,
			Outcomes: outcomes{st.broker}, Reader: st.broker, Cursors: st.backlog,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := out.SetPlatform(platform); err != nil {
			t.Fatal(err)
		}
		if err := out.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		st.replace(func(m map[string]*session) { m[id] = &session{out: out} })
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), long)
			defer cancel()
			if err := out.Close(ctx); err != nil {
				t.Error(err)
			}
			if err := store.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		st.cancel()
		st.endLookout()
	})
	return st
}

// bring delivers a command that was published.
func (st *street) bring(session, id string, sequence, pending uint64, again bool) {
	st.deliver(&bridge.Delivery{
		Session: session, Sequence: sequence, Stored: time.Now(), Pending: pending, Redelivered: again,
		Header: map[string][]string{"Nats-Msg-Id": {id}}, Body: []byte(good), Settler: &st.acks,
	})
}

// flood publishes and delivers as much of the loud session as it does not hold,
// and says that the consumer has much more.
func (st *street) flood(t *testing.T, again bool) {
	t.Helper()
	for i := range 1100 {
		id := fmt.Sprint("loud-", i)
		st.bring("loud", id, st.send(t, "loud", id, good), 5000, again)
	}
	if !st.all()["loud"].out.Behind() {
		t.Fatal("a session that cannot send is not behind")
	}
}

func (st *street) lookingOut() bool {
	st.giving.Lock()
	defer st.giving.Unlock()
	return st.lookout.ended != nil
}

func TestASessionDoesNotWaitForTheFloodOfAnother(t *testing.T) {
	st := newStreet(t)
	st.bring("quiet", "q0", st.send(t, "quiet", "q0", good), 0, false)
	st.quiet.await(t, "q0")
	st.flood(t, false)
	if !st.lookingOut() {
		t.Fatal("nobody looks ahead")
	}
	first := st.send(t, "quiet", "q1", good)
	second := st.send(t, "quiet", "q2", good)
	st.quiet.await(t, "q0", "q1", "q2")
	third := st.send(t, "quiet", "q3", good)
	st.quiet.await(t, "q0", "q1", "q2", "q3")

	// The consumer comes to it at last.
	before := st.acks.n.Load()
	st.bring("quiet", "q1", first, 3000, false)
	st.bring("quiet", "q2", second, 2000, false)
	st.bring("quiet", "q3", third, 0, false)
	bridgetest.Eventually(t, long, func() bool { return st.acks.n.Load() >= before+3 }, "what was read is not acked")
	bridgetest.Eventually(t, long, func() bool { return !st.lookingOut() }, "the lookout goes on")
	quiet := st.all()["quiet"].out
	bridgetest.Eventually(t, long, func() bool {
		quiet.Sweep(time.Now())
		entry, err := st.backlog.Get(t.Context(), "quiet")
		return err == nil && len(entry.Value) == 0
	}, "the session is not live again")
	st.bring("quiet", "q4", st.send(t, "quiet", "q4", good), 0, false)
	st.quiet.await(t, "q0", "q1", "q2", "q3", "q4")
}

func TestNobodyLooksAheadOfWhatIsDeliveredAgain(t *testing.T) {
	st := newStreet(t)
	st.flood(t, true)
	if st.lookingOut() {
		t.Error("what another owner may have sent would come as new")
	}
}

func TestALookoutEndsWithTheConsumer(t *testing.T) {
	st := newStreet(t)
	st.flood(t, false)
	if !st.lookingOut() {
		t.Fatal("nobody looks ahead")
	}
	st.send(t, "quiet", "q1", good)
	st.quiet.await(t, "q1")
	st.endLookout()
	if st.lookingOut() {
		t.Error("the lookout goes on")
	}
	st.resetLookout()
	st.giving.Lock()
	defer st.giving.Unlock()
	if st.lookout.front != 0 {
		t.Error("a new consumer would be taken for as far as the one before")
	}
}
