package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
)

// land reads a subject from where the table's files end, and adds a file whenever
// there are enough rows, or the oldest has waited long enough. It returns when
// ctx ends, after everything read is landed, or with the first trouble: started
// again it goes on from the files.
func land[T any](ctx context.Context, c config, js jetstream.JetStream, table, subject string,
	row func(jetstream.Msg, *jetstream.MsgMetadata) T,
) error {
	f := folder(filepath.Join(c.dir, table))
	landed, err := f.open()
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	messages, err := readFrom(ctx, c, js, subject, landed)
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	defer messages.Stop()
	for ctx.Err() == nil {
		rows, first, last, err := batch(ctx, c, messages, row)
		if err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		if len(rows) == 0 {
			continue
		}
		if err := write(f, rows, first, last); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
		c.log.Info("landed", "table", table, "rows", len(rows), "first", first, "last", last)
	}
	return nil
}

// readFrom reads a subject in order from the sequence after landed. The
// server keeps nothing of it.
func readFrom(ctx context.Context, c config, js jetstream.JetStream, subject string, landed uint64) (jetstream.MessagesContext, error) {
	stream, err := js.Stream(ctx, c.stream)
	if err != nil {
		return nil, fmt.Errorf("finding the stream: %w", err)
	}
	state := stream.CachedInfo().State
	if landed > state.LastSeq {
		return nil, fmt.Errorf("the files go up to sequence %d, the stream to %d: they are of another stream", landed, state.LastSeq)
	}
	if landed > 0 && state.FirstSeq > landed+1 {
		c.log.Warn("the stream forgot messages before they were landed", "subject", subject, "landed", landed, "first", state.FirstSeq)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: landed + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("reading the stream: %w", err)
	}
	return consumer.Messages()
}

// batch reads rows for one file, and the first and the last sequence among them.
func batch[T any](ctx context.Context, c config, messages jetstream.MessagesContext,
	row func(jetstream.Msg, *jetstream.MsgMetadata) T,
) (rows []T, first, last uint64, err error) {
	for len(rows) < c.rows {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil { // time is up, or the program ends
				return rows, first, last, nil
			}
			return nil, 0, 0, fmt.Errorf("reading the stream: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, 0, 0, fmt.Errorf("reading the stream: %w", err)
		}
		if last = meta.Sequence.Stream; len(rows) == 0 {
			first = last
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.every)
			defer cancel()
		}
		rows = append(rows, row(m, meta))
	}
	return rows, first, last, nil
}
