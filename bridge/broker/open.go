package broker

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// open calls f, which opens a stream or bucket by its name, with a bounded
// context. Once Ensure has found or made all of them, a failure that passes is
// waited out for Config.StartWait: no leader, no answer, or a server of a cluster
// that does not know of the stream yet.
func (b *Broker) open(ctx context.Context, name string, f func(ctx context.Context) error) error {
	return retry(ctx, b.config.StartWait, func() (bool, error) {
		call, cancel := context.WithTimeout(ctx, callWait)
		defer cancel()
		err := f(call)
		if err == nil || b.Shards() == 0 {
			return false, err
		}
		again, _ := explain(err, name) // the caller says what was opened
		missing := errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound)
		return (again || missing) && ctx.Err() == nil, err
	})
}
