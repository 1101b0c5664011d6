package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// collector keeps what a consumer delivers.
type collector struct {
	mu  sync.Mutex
	got []*bridge.Delivery
}

func (c *collector) take(d *bridge.Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, d)
}

func (c *collector) all() []*bridge.Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*bridge.Delivery(nil), c.got...)
}

// await waits for n deliveries.
func (c *collector) await(t *testing.T, n int) []*bridge.Delivery {
	t.Helper()
	bridgetest.Eventually(t, long, func() bool { return len(c.all()) >= n }, "fewer than %d deliveries", n)
	return c.all()
}

// send publishes n commands of a session, numbered from first.
func send(t *testing.T, js jetstream.JetStream, session string, first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		bridgetest.Eventually(t, long, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := js.Publish(ctx, "wa.send."+session, fmt.Appendf(nil, "%d", i),
				jetstream.WithMsgID(fmt.Sprintf("%s-%d", session, i)))
			return err == nil
		}, "publishing a command")
	}
}

func stop(t *testing.T, c *Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestConsumerDeliversTheCommandsOfItsShard(t *testing.T) {
	s := bridgetest.NATS(t)
	open(t, s, func(c *Config) { c.Shards = 4 })
	// An operator's streams do: the consumers are the bridge's own.
	b := open(t, s, func(c *Config) { c.Manage = false })
	js := s.JetStream(t)
	sessions := make(map[string]int)
	for i := range 20 {
		session := fmt.Sprintf("shop-%d", i)
		sessions[session] = bridge.Shard(session, 4)
		send(t, js, session, 0, 1)
	}
	for shard := range 4 {
		want := 0
		for _, of := range sessions {
			if of == shard {
				want++
			}
		}
		var got collector
		c, err := b.Consume(t.Context(), shard, got.take)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got.await(t, want) {
			if d.Shard != shard || sessions[d.Session] != shard {
				t.Errorf("shard %d got a command of %s, which is in %d", shard, d.Session, sessions[d.Session])
			}
			if d.HeaderValue("Nats-Msg-Id") != d.Session+"-0" || string(d.Body) != "0" || d.Redelivered || time.Since(d.Stored) > time.Hour {
				t.Errorf("delivery = %+v", d)
			}
			if err := d.Settler.Ack(); err != nil {
				t.Error(err)
			}
		}
		stop(t, c)
	}
	if _, err := b.Consume(t.Context(), 4, func(*bridge.Delivery) {}); err == nil {
		t.Error("a shard that does not exist was consumed")
	}
}

func TestConsumerStartsOverFromTheFirstUnsettled(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	send(t, s.JetStream(t), "shop", 0, 10)
	var first collector
	c, err := b.Consume(t.Context(), 0, first.take)
	if err != nil {
		t.Fatal(err)
	}
	got := first.await(t, 10)
	for _, i := range []int{0, 1, 3} {
		if err := got[i].Settler.Ack(); err != nil {
			t.Error(err)
		}
	}
	bridgetest.Eventually(t, long, func() bool {
		floor, err := b.AckFloor(t.Context(), c.shard)
		return err == nil && floor == 2
	}, "the ack floor is not 2")
	stop(t, c)
	var second collector
	c, err = b.Consume(t.Context(), 0, second.take)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	send(t, s.JetStream(t), "shop", 10, 1)
	for i, d := range second.await(t, 9) {
		if want := uint64(i + 3); d.Sequence != want {
			t.Errorf("delivery %d has sequence %d, want %d", i, d.Sequence, want)
		}
		if again := d.Sequence <= 10; d.Redelivered != again {
			t.Errorf("sequence %d: redelivered is %v, want %v", d.Sequence, d.Redelivered, again)
		}
	}
}

func TestConsumerStopWaitsForTheHandler(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	entered, release := make(chan struct{}), make(chan struct{})
	var calls collector
	c, err := b.Consume(t.Context(), 0, func(d *bridge.Delivery) {
		calls.take(d)
		entered <- struct{}{}
		<-release
	})
	if err != nil {
		t.Fatal(err)
	}
	send(t, s.JetStream(t), "shop", 0, 3)
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Stop(ctx); err == nil {
		t.Error("Stop returned while the handler ran")
	}
	close(release)
	stop(t, c)
	if n := len(calls.all()); n != 1 {
		t.Errorf("the handler was called %d times, want 1", n)
	}
}

// passes checks that sequences only rise within a pass, and that a new pass
// begins at or below what was delivered: no command is skipped.
func passes(t *testing.T, got []*bridge.Delivery, want int) {
	t.Helper()
	var highest uint64
	for i, d := range got {
		if d.Sequence > highest+1 {
			t.Fatalf("delivery %d has sequence %d, the highest before is %d", i, d.Sequence, highest)
		}
		if i > 0 && d.Sequence <= got[i-1].Sequence && d.Sequence != 1 {
			t.Fatalf("delivery %d has sequence %d after %d: a pass begins at 1 here", i, d.Sequence, got[i-1].Sequence)
		}
		if i > 0 && d.Sequence != 1 && d.Sequence != got[i-1].Sequence+1 {
			t.Fatalf("delivery %d has sequence %d after %d", i, d.Sequence, got[i-1].Sequence)
		}
		highest = max(highest, d.Sequence)
	}
	if highest != uint64(want) {
		t.Errorf("highest sequence delivered = %d, want %d", highest, want)
	}
}

func TestConsumerSkipsNothingWhileTheServerRestarts(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	js := s.JetStream(t)
	var got collector
	c, err := b.Consume(t.Context(), 0, got.take)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	const each = 400
	for round := range 3 {
		send(t, js, "shop", round*each, each)
		s.Restart(t)
	}
	send(t, js, "shop", 3*each, 1)
	bridgetest.Eventually(t, long, func() bool {
		all := got.all()
		return len(all) > 0 && all[len(all)-1].Sequence == 3*each+1
	}, "the last command was not delivered")
	passes(t, got.all(), 3*each+1)
}

func TestConsumerIsMadeAnewWhenSomeoneDeletesIt(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	js := s.JetStream(t)
	var got collector
	c, err := b.Consume(t.Context(), 0, got.take)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	send(t, js, "shop", 0, 5)
	got.await(t, 5)
	if err := js.DeleteConsumer(t.Context(), "WA_SEND", "shard-0"); err != nil {
		t.Fatal(err)
	}
	send(t, js, "shop", 5, 1)
	bridgetest.Eventually(t, long, func() bool {
		all := got.all()
		return all[len(all)-1].Sequence == 6
	}, "what came after was not delivered")
	passes(t, got.all(), 6)
}

func TestConsumerThatContradictsIsRefused(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	config := shardConsumer(b.Names(), 0)
	config.MaxDeliver = 3
	if _, err := b.JetStream().CreateConsumer(t.Context(), "WA_SEND", config); err != nil {
		t.Fatal(err)
	}
	_, err := b.Consume(t.Context(), 0, func(*bridge.Delivery) {})
	contradicts(t, err, "max_deliver")
}

func TestConsumerTakesWhatLooksLikeAStatusOfTheServer(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	m := nats.NewMsg("wa.send.shop")
	m.Header.Set("Status", "409")
	m.Header.Set("Description", "Consumer Deleted")
	if _, err := b.JetStream().PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	send(t, b.JetStream(), "shop", 0, 1)
	var got collector
	c, err := b.Consume(t.Context(), 0, got.take)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	all := got.await(t, 2)
	if all[0].Sequence != 1 || all[0].HeaderValue("Status") != "409" || all[1].Sequence != 2 {
		t.Errorf("deliveries %+v and %+v", all[0], all[1])
	}
}

func TestConsumerPullsMoreThanOneRequestHolds(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	large := make([]byte, 900<<10)
	for range 12 {
		if _, err := b.JetStream().Publish(t.Context(), "wa.send.shop", large); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * pullRecords {
		if _, err := b.JetStream().PublishAsync("wa.send.shop", nil); err != nil {
			t.Fatal(err)
		}
	}
	<-b.JetStream().PublishAsyncComplete()
	var got collector
	c, err := b.Consume(t.Context(), 0, got.take)
	if err != nil {
		t.Fatal(err)
	}
	got.await(t, 12+2*pullRecords)
	stop(t, c)
	for i, d := range got.all() {
		if d.Sequence != uint64(i+1) {
			t.Fatalf("delivery %d has sequence %d", i, d.Sequence)
		}
	}
}

func TestSettlingReachesTheServer(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	reasons, err := s.Conn(t).SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
	if err != nil {
		t.Fatal(err)
	}
	send(t, s.JetStream(t), "shop", 0, 3)
	var got collector
	c, err := b.Consume(t.Context(), 0, got.take)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	all := got.await(t, 3)
	err = errors.Join(all[0].Settler.Ack(), all[1].Settler.InProgress(), all[1].Settler.TermWithReason("no such session"))
	if err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, long, func() bool {
		floor, err := b.AckFloor(t.Context(), c.shard)
		return err == nil && floor == 2
	}, "the ack floor is not 2")
	advisory, err := reasons.NextMsg(long)
	if err != nil || !strings.Contains(string(advisory.Data), "no such session") {
		t.Errorf("advisory = %v, %v", advisory, err)
	}
}
