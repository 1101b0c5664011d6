package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Compare reads the stream that one of Specs describes and gives what is there.
// The error wraps jetstream.ErrStreamNotFound where it is missing, and joins
// one *ContradictionError for each field that cannot stay. It changes nothing
// and tries once.
func (b *Broker) Compare(ctx context.Context, wanted jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	stream, err := b.js.Stream(ctx, wanted.Name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", wanted.Name, err)
	}
	info := stream.CachedInfo()
	return info, check(wanted, info.Config, b.config.Replicas)
}
