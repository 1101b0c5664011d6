package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

const (
	// AckWait is how long a command may stay unsettled without InProgress.
	AckWait = 30 * time.Second
	// MaxAckPending bounds the unsettled commands of a shard.
	MaxAckPending = 10_000

	// A consumer that cannot be opened is tried again after firstReopen,
	// doubling to maxReopen.
	firstReopen = 100 * time.Millisecond
	maxReopen   = 5 * time.Second
	// callWait bounds one call of the JetStream API.
	callWait = 5 * time.Second
)

// Consumer delivers the commands of one shard.
type Consumer struct {
	broker  *Broker
	shard   int
	deliver func(*bridge.Delivery)
	reached uint64 // the highest sequence that was delivered before the last reset

	cancel context.CancelFunc
	ended  chan struct{}
}

// shardConsumer is the durable consumer of a shard.
func shardConsumer(names bridge.Names, shard int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       "shard-" + strconv.Itoa(shard),
		Description:   "wabridge: commands of one shard",
		FilterSubject: names.Outbox(shard, "*"),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		MaxDeliver:    -1,
		MaxAckPending: MaxAckPending,
	}
}

// Consume delivers the commands of a shard, from the first that is not settled
// on, one at a time and in order, until Stop. ctx bounds the start only. It
// creates the shard's consumer where it is missing, whatever Config.Manage says
// of streams.
//
// Whatever breaks (the connection, the consumer's leader, the consumer itself)
// is mended by starting over from the first unsettled command, which delivers
// again what f was given and has not settled: f gets the same sequence with
// another Settler. From one start to the next sequences only rise.
func (b *Broker) Consume(ctx context.Context, shard int, f func(*bridge.Delivery)) (*Consumer, error) {
	if n := b.Shards(); shard < 0 || shard >= n {
		return nil, fmt.Errorf("consuming shard %d: there are %d", shard, n)
	}
	c := &Consumer{broker: b, shard: shard, deliver: f, ended: make(chan struct{})}
	first, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	go c.run(run, first)
	return c, nil
}

// Stop ends the pulling and returns once f runs no more, or ctx ends. What was
// delivered can be settled afterwards.
func (c *Consumer) Stop(ctx context.Context) error {
	c.cancel()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping the consumer of shard %d: %w", c.shard, ctx.Err())
	}
}

// AckFloor is the sequence up to which every command of a shard is settled at
// the server, whoever consumes it; 0 where nobody has yet.
func (b *Broker) AckFloor(ctx context.Context, shard int) (uint64, error) {
	consumer, err := b.js.Consumer(ctx, b.names.SendStream(), shardConsumer(b.names, shard).Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the ack floor of shard %d: %w", shard, err)
	}
	return consumer.CachedInfo().AckFloor.Stream, nil
}

// run keeps a pull going until ctx ends.
func (c *Consumer) run(ctx context.Context, p *pull) {
	defer close(c.ended)
	for p != nil {
		why := c.broker.watchOver(ctx, p)
		useful := p.close()
		if ctx.Err() != nil {
			return
		}
		c.broker.metrics.resets.Add(ctx, 1)
		c.broker.log.Debug("shard consumer starts over", slog.Int("shard", c.shard), slog.Any("why", why))
		if !useful && pause(ctx, firstReopen) != nil {
			return
		}
		p = c.reopen(ctx)
	}
}

// reopen begins to pull, for as long as it takes; nil where ctx ended first.
func (c *Consumer) reopen(ctx context.Context) *pull {
	for wait := firstReopen; ; wait = min(2*wait, maxReopen) {
		if c.broker.nc.IsConnected() {
			p, err := c.open(ctx)
			if err == nil {
				return p
			}
			if ctx.Err() == nil {
				c.broker.log.Warn("shard consumer cannot be opened", slog.Int("shard", c.shard), slog.Any("error", err))
			}
		}
		if c.broker.pauseUntil(ctx, wait) != nil {
			return nil
		}
	}
}

// open makes sure that the consumer exists, takes it back to its ack floor and
// begins to pull.
func (c *Consumer) open(ctx context.Context) (*pull, error) {
	name, reached, err := c.reset(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the consumer of shard %d: %w", c.shard, err)
	}
	c.reached = max(c.reached, reached)
	p, err := c.broker.newPull(c.broker.names.SendStream(), name, func(m *nats.Msg, at position) error {
		d := newDelivery(m, at, c.shard)
		// The reset begins the count of deliveries anew.
		d.Redelivered = d.Redelivered || d.Sequence <= c.reached
		c.deliver(d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the consumer of shard %d: %w", c.shard, err)
	}
	return p, nil
}

// reset gives the name of the consumer, at its ack floor, and the highest
// sequence that it had delivered to anyone before.
func (c *Consumer) reset(ctx context.Context) (name string, reached uint64, err error) {
	ctx, cancel := c.broker.call(ctx)
	defer cancel()
	b, wanted := c.broker, shardConsumer(c.broker.names, c.shard)
	stream := b.names.SendStream()
	consumer, err := b.js.Consumer(ctx, stream, wanted.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = b.js.CreateConsumer(ctx, stream, wanted)
		return wanted.Durable, 0, err
	}
	if err != nil {
		return "", 0, err
	}
	info := consumer.CachedInfo()
	if err := checkConsumer(stream, wanted, info.Config); err != nil {
		return "", 0, err
	}
	_, err = b.js.ResetConsumer(ctx, stream, wanted.Durable)
	return wanted.Durable, info.Delivered.Stream, err
}
