package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/outbound"
	"wabridge/codec"
)

// taker is a platform that accepts everything at once.
type taker struct {
	mu     sync.Mutex
	window int
	took   []string
}

func (p *taker) Start(func()) func() { return nil }
func (p *taker) Resume()             {}
func (p *taker) Idempotent() bool    { return true }

func (p *taker) Window() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.window
}

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

// street is a shard with a session that cannot send and one that can.
type street struct {
	*house
	*shard
	env         *outbound.Env // of its sessions
	loud, quiet *taker
	refs        []string // of the flood
}

func newStreet(t *testing.T) *street {
	t.Helper()
	st := &street{house: newHouse(t), loud: &taker{}, quiet: &taker{window: 8}}
	st.shard = newShard(0, st.house.host, nil)
	st.env = &outbound.Env{
		Names: st.names, Created: time.Unix(1, 0), Outcomes: outcomes{st.broker}, Reader: st.broker, Cursors: st.backlog,
	}
	close(st.begun)
	for id, platform := range map[string]*taker{"loud": st.loud, "quiet": st.quiet} {
		store := st.broker.NewStore(id)
		out, err := outbound.New(outbound.Config{Env: st.env, Session: id, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := out.SetPlatform(platform); err != nil {
			t.Fatal(err)
		}
		if err := out.Start(bridge.Entry{}); err != nil {
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
		st.turn.Lock()
		defer st.turn.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), long)
		defer cancel()
		st.stopConsumer(ctx)
		if err := st.orphans.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return st
}

// flood publishes much more of the loud session than it holds.
func (st *street) flood(t *testing.T) {
	t.Helper()
	for i := range 3000 {
		id := fmt.Sprint("loud-", i)
		st.refs = append(st.refs, id)
		st.send(t, "loud", id, good)
	}
}

// bring delivers a command, as the consumer would that has many more.
func (st *street) bring(session, id string, sequence uint64, again bool) {
	st.deliver(&bridge.Delivery{
		Session: session, Sequence: sequence, Stored: time.Now(), Pending: 5000, Redelivered: again,
		Header: map[string][]string{"Nats-Msg-Id": {id}}, Body: []byte(good), Settler: &acked{},
	})
}

func (st *street) begin(t *testing.T) {
	t.Helper()
	st.turn.Lock()
	defer st.turn.Unlock()
	if err := st.consume(); err != nil {
		t.Fatal(err)
	}
}

func (st *street) floor(t *testing.T) uint64 {
	t.Helper()
	floor, err := st.broker.AckFloor(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return floor
}

func TestASessionDoesNotWaitForTheFloodOfAnother(t *testing.T) {
	st := newStreet(t)
	st.begin(t)
	// The test delivers, so that the consumer is as slow as it has to be.
	if err := st.consumer.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := st.send(t, "quiet", "q0", good)
	st.flood(t)
	st.send(t, "quiet", "q1", good)
	end := st.send(t, "quiet", "q2", good)
	st.bring("quiet", "q0", first, false)
	for i, ref := range st.refs[:1100] { // more than it holds
		st.bring("loud", ref, first+1+uint64(i), false)
	}
	st.quiet.await(t, "q0", "q1", "q2")
	bridgetest.Eventually(t, long, func() bool { return st.floor(t) >= end }, "the flood is not skipped")
	st.send(t, "quiet", "q3", good)
	st.quiet.await(t, "q0", "q1", "q2", "q3")

	// What was skipped is sent once it can be, once each.
	st.loud.mu.Lock()
	st.loud.window = 50
	st.loud.mu.Unlock()
	st.all()["loud"].out.Wake()
	st.loud.await(t, st.refs...)
	bridgetest.Eventually(t, long, func() bool {
		st.env.Sweep(time.Now())
		for id := range st.all() {
			if entry, err := st.backlog.Get(t.Context(), id); err != nil || len(entry.Value) > 0 {
				return false
			}
		}
		return true
	}, "the sessions are not live again")
}

// The commands of a session that nobody has defined are in no backlog.
func TestNothingOfAnUnknownSessionIsSkipped(t *testing.T) {
	st := newStreet(t)
	st.turn.Lock()
	defer st.turn.Unlock()
	unknown := st.send(t, "new", "n0", good)
	st.send(t, "quiet", "q0", good)
	if err := st.skipOver(t.Context()); !errors.Is(err, errUnknownSession) {
		t.Errorf("a skip of a command that is to be delivered gives %v", err)
	}
	st.bring("new", "n0", unknown, false)
	if st.skips.running.Load() {
		t.Error("a flood of a session that is not defined is to be skipped")
	}
	if err := st.skipOver(t.Context()); !errors.Is(err, errUnknownSession) {
		t.Errorf("a skip of a command that is held gives %v", err)
	}
}

func TestAReplicaThatMayNotActSkipsNothing(t *testing.T) {
	st := newStreet(t)
	st.begin(t)
	st.turn.Lock()
	defer st.turn.Unlock()
	st.stopConsumer(t.Context())
	st.may = func() bool { return false }
	st.send(t, "quiet", "q0", good)
	if err := st.skipOver(t.Context()); !errors.Is(err, errNotOwner) {
		t.Errorf("it gives %v", err)
	}
	if got := st.floor(t); got != 0 {
		t.Errorf("the consumer is at %d", got)
	}
	st.may = func() bool { return true }
	st.skips.front.Store(0)
	if err := st.skipOver(t.Context()); err != nil || st.floor(t) != 1 {
		t.Errorf("then it gives %v, and the consumer is at %d", err, st.floor(t))
	}
	st.skips.front.Store(1)
	st.consumer = nil
	if err := st.skipOver(t.Context()); err != nil {
		t.Errorf("with nothing to skip it gives %v", err)
	}
}

// Sessions may have come since, to which nothing was delivered.
func TestASkipThatComesTooLateDoesNothing(t *testing.T) {
	st := newStreet(t)
	st.begin(t)
	st.turn.Lock()
	run := st.skips.run.Load()
	st.stopConsumer(t.Context())
	if err := st.consume(); err != nil {
		t.Fatal(err)
	}
	st.turn.Unlock()
	st.skip(run)
	if st.skips.notYet.Load() != 0 {
		t.Error("it skips for a consumer that is no more")
	}
	st.skip(st.skips.run.Load())
	if st.skips.notYet.Load() == 0 {
		t.Error("it does not skip")
	}
}

func TestSkipsThatFailComeLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k skips
		for _, step := range []struct {
			failed bool
			want   time.Duration
		}{
			{true, skipLater},
			{true, 2 * skipLater},
			{true, 4 * skipLater},
			{true, 8 * skipLater},
			{true, 16 * skipLater},
			{true, skipLast},
			{true, skipLast},
			{false, skipAgain},
			{true, skipLater},
		} {
			k.pause(step.failed)
			if got := time.Until(time.Unix(0, k.notYet.Load())); got != step.want {
				t.Errorf("failed: %t: it waits %v, want %v", step.failed, got, step.want)
			}
		}
	})
}

// What another owner may have sent would come to a session as new.
func TestWhatIsDeliveredAgainIsNotSkipped(t *testing.T) {
	st := newStreet(t)
	for i := range 1100 {
		st.bring("loud", fmt.Sprint("loud-", i), uint64(i)+1, true)
	}
	if !st.all()["loud"].out.Behind() {
		t.Fatal("a session that cannot send is not behind")
	}
	if st.skips.running.Load() || st.skips.notYet.Load() != 0 {
		t.Error("it is skipped")
	}
}

// acked takes every settling.
type acked struct{}

func (*acked) Ack() error                  { return nil }
func (*acked) TermWithReason(string) error { return nil }
func (*acked) InProgress() error           { return nil }
