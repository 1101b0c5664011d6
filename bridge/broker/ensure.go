package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoJetStream is wrapped by the error on a server or account without
// JetStream.
var ErrNoJetStream = errors.New("JetStream is not enabled")

// Ensure makes sure that every stream and bucket is there and as it must be.
// Where Config.Manage says so, it creates what is missing and lets the streams
// that stores write take batches. It changes nothing else that exists: the error
// joins one *ContradictionError for each field that cannot stay. It waits up to
// Config.StartWait while the servers elect a leader.
func (b *Broker) Ensure(ctx context.Context) error {
	if on, _ := b.nc.ConnectedServerJetStream(); !on && b.config.Domain == "" {
		return fmt.Errorf("%w on server %s: start it with -js, or set the JetStream domain", ErrNoJetStream, b.nc.ConnectedServerName())
	}
	send, err := b.ensureSend(ctx)
	if err != nil {
		return err
	}
	faults := []error{check(b.Specs()[0], send.Config, b.config.Replicas)}
	for _, wanted := range b.Specs()[1:] {
		info, err := b.ensureStream(ctx, wanted)
		if err != nil {
			return err
		}
		faults = append(faults, check(wanted, info.Config, b.config.Replicas))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return b.readCopies(ctx)
}

// ensureSend settles the number of shards: it is what the existing stream has.
func (b *Broker) ensureSend(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := b.ensureStream(ctx, b.Specs()[0])
	if err != nil {
		return nil, err
	}
	n, ok := shardsOf(info.Config)
	if !ok {
		return nil, &ContradictionError{
			Stream: info.Config.Name, Field: "subject_transform", Found: transform(info.Config),
			Wanted: transform(b.Specs()[0]), Remedy: remedyRecreate,
		}
	}
	if b.config.Shards != 0 && n != b.config.Shards {
		return nil, &ContradictionError{
			Stream: info.Config.Name, Field: "shards", Found: fmt.Sprint(n), Wanted: fmt.Sprint(b.config.Shards),
			Remedy: "the number is fixed when the stream is created: configure the number found, or none",
		}
	}
	b.shards.Store(int64(n))
	b.sendCreated.Store(info.Created.UnixNano())
	return info, nil
}

// ensureStream reads a stream, or creates it.
func (b *Broker) ensureStream(ctx context.Context, wanted jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	var info *jetstream.StreamInfo
	err := retry(ctx, b.config.StartWait, func() (bool, error) {
		call, cancel := context.WithTimeout(ctx, callWait)
		defer cancel()
		stream, err := b.js.Stream(call, wanted.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) && b.config.Manage {
			stream, err = b.js.CreateStream(call, wanted)
			if err == nil {
				b.log.Info("stream created", slog.String("stream", wanted.Name), slog.Int("replicas", wanted.Replicas))
			}
		}
		if err == nil {
			info = stream.CachedInfo()
			b.allowBatches(call, wanted, info)
			return false, nil
		}
		again, err := explain(err, wanted.Name)
		return again && ctx.Err() == nil, err
	})
	return info, err
}

// allowBatches lets a stream take batches that was created without. Stores work
// without them, more slowly, so a failure is told and no more.
func (b *Broker) allowBatches(ctx context.Context, wanted jetstream.StreamConfig, info *jetstream.StreamInfo) {
	if !wanted.AllowAtomicPublish || info.Config.AllowAtomicPublish || !b.config.Manage {
		return
	}
	changed := info.Config
	changed.AllowAtomicPublish = true
	if _, err := b.js.UpdateStream(ctx, changed); err != nil {
		b.log.Warn("stream takes no batches: with copies, storing is slower", slog.String("stream", wanted.Name), slog.Any("error", err))
		return
	}
	b.log.Info("stream takes batches now", slog.String("stream", wanted.Name))
}

// explain says whether a failure of the JetStream API may pass, and what to do
// about one that does not.
func explain(err error, stream string) (again bool, _ error) {
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return false, fmt.Errorf("%w for this account: %w", ErrNoJetStream, err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return false, fmt.Errorf("stream %s: %w: create it as `wabridge streams --json` says, or let the bridge manage streams", stream, err)
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		// Someone else created it a moment ago: read it.
		return true, fmt.Errorf("stream %s: %w", stream, err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected):
		return true, fmt.Errorf("stream %s: JetStream does not answer; does the user have permission on $JS.API.>? %w", stream, err)
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	// 503 is a server without a leader, or with less than it needs, for now.
	return ok && api.Code == 503, fmt.Errorf("stream %s: %w", stream, err)
}

// readCopies learns whether what stores write may be answered by a leader that
// falls, and whether it may be written in batches.
func (b *Broker) readCopies(ctx context.Context) error {
	copies := 0
	for _, of := range []struct {
		name    string
		batches *atomic.Bool
	}{{b.names.RecvStream(), &b.batches.recv}, {b.names.DeadStream(), &b.batches.dead}} {
		var stream jetstream.Stream
		err := b.open(ctx, of.name, func(ctx context.Context) (err error) {
			stream, err = b.js.Stream(ctx, of.name)
			return err
		})
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", of.name, err)
		}
		config := stream.CachedInfo().Config
		copies = max(copies, config.Replicas)
		of.batches.Store(config.AllowAtomicPublish)
	}
	b.replicated.Store(copies > 1)
	return nil
}

// transform is a stream's subject transform in words.
func transform(c jetstream.StreamConfig) string {
	if c.SubjectTransform == nil {
		return "none"
	}
	return c.SubjectTransform.Source + " to " + c.SubjectTransform.Destination
}

func age(d time.Duration) string {
	if d == 0 {
		return "unlimited"
	}
	return d.String()
}
