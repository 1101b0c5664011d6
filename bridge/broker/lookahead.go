package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lookaheadExpires is how long the server keeps the consumer of a LookAhead that
// has ended. Deleting it would take a permission to delete consumers of WA_SEND,
// which nothing else needs.
const lookaheadExpires = 10 * time.Second

// LookAhead calls f, in order, with each command that WA_SEND holds of some
// sessions of a shard from a sequence on, and with each that comes, whatever the
// shard's consumer has still to deliver before it. It delivers nothing: f hears
// of a command, and who wants it reads it. f is called by one goroutine, and no
// more once LookAhead has returned; it must not block.
//
// It blocks until f gives an error, which it returns as it is, or until ctx
// ends or something breaks, and says what.
func (b *Broker) LookAhead(ctx context.Context, shard int, sessions []string, from uint64, f func(session string, sequence uint64) error) error {
	filters := make([]string, len(sessions))
	for i, session := range sessions {
		filters[i] = b.names.Outbox(shard, session)
	}
	call, cancel := b.call(ctx)
	consumer, err := b.js.CreateConsumer(call, b.names.SendStream(), jetstream.ConsumerConfig{
		Description:       "wabridge: looks ahead of a shard's consumer",
		FilterSubjects:    filters,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(from, 1),
		AckPolicy:         jetstream.AckNonePolicy,
		HeadersOnly:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: lookaheadExpires,
	})
	cancel()
	if err != nil {
		return fmt.Errorf("looking ahead in shard %d: %w", shard, err)
	}
	var ended error
	p, err := b.newPull(b.names.SendStream(), consumer.CachedInfo().Name, func(m *nats.Msg, at position) error {
		ended = f(sessionOf(m.Subject), at.stream)
		return ended
	})
	if err != nil {
		return fmt.Errorf("looking ahead in shard %d: %w", shard, err)
	}
	why := b.watchOver(ctx, p)
	p.close()
	if ended != nil {
		return ended
	}
	return fmt.Errorf("looking ahead in shard %d: %w", shard, why)
}
