package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// asksAtOnce bounds the questions to a stream's leader that are on their way.
const asksAtOnce = 32

// LastSends gives the sequence of the last command in WA_SEND, and those of the
// last command of each session of a shard that it holds one of, as its leader
// knows them: the latter, of what is at or before the former at least.
func (b *Broker) LastSends(ctx context.Context, shard int) (end uint64, last map[string]uint64, err error) {
	stream, err := b.js.Stream(ctx, b.names.SendStream())
	if err != nil {
		return 0, nil, fmt.Errorf("reading the sessions of shard %d: %w", shard, err)
	}
	end = stream.CachedInfo().State.LastSeq
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(b.names.Outbox(shard, "*")))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the sessions of shard %d: %w", shard, err)
	}
	var (
		mu   sync.Mutex
		asks errgroup.Group
	)
	last = make(map[string]uint64)
	asks.SetLimit(asksAtOnce)
	for subject := range info.State.Subjects {
		asks.Go(func() error {
			sequence, err := b.lastOf(ctx, b.names.SendStream(), subject)
			if err != nil {
				return fmt.Errorf("reading the last command of session %s: %w", sessionOf(subject), err)
			}
			mu.Lock()
			defer mu.Unlock()
			last[sessionOf(subject)] = sequence
			return nil
		})
	}
	if err := asks.Wait(); err != nil {
		return 0, nil, err
	}
	return end, last, nil
}

// SkipSend takes a shard's consumer, which nobody may be pulling from, to behind
// a sequence of WA_SEND: what is at or before it is not delivered any more, and
// what was delivered of it need not be settled. Only the owner of the shard may
// call it, with a sequence that is not before what was delivered, and once all
// of that is settled or wa_backlog names it.
func (b *Broker) SkipSend(ctx context.Context, shard int, sequence uint64) error {
	_, err := b.js.ResetConsumerToSequence(ctx, b.names.SendStream(), shardConsumer(b.names, shard).Durable, sequence+1)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("taking the consumer of shard %d to %d: %w", shard, sequence, err)
	}
	return nil
}
