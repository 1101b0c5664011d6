package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// reader reads messages in the order of their stream, through lost connections.
type reader struct {
	messages jetstream.MessagesContext
	// stored is how many there are still of those stored when it began.
	stored uint64
}

// line is one stored message.
type line struct {
	msg  jetstream.Msg
	meta *jetstream.MsgMetadata
}

// read opens a reader of the messages on subjects: those stored since then, or
// from now on where since is zero.
func (c *client) read(ctx context.Context, stream string, subjects []string, since time.Time) (*reader, error) {
	s, err := c.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	config := jetstream.OrderedConsumerConfig{FilterSubjects: subjects, InactiveThreshold: time.Minute}
	if since.IsZero() {
		// By sequence: "new" would forget where it began when it has to begin again.
		config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		config.OptStartSeq = s.CachedInfo().State.LastSeq + 1
	} else {
		config.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		config.OptStartTime = &since
	}
	consumer, err := s.OrderedConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", stream, err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", stream, err)
	}
	return &reader{messages: messages, stored: consumer.CachedInfo().NumPending}, nil
}

// next waits for a message. It returns ctx's error when ctx ends.
func (r *reader) next(ctx context.Context) (line, error) {
	m, err := r.messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return line{}, fmt.Errorf("reading messages: %w", err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return line{}, fmt.Errorf("reading a message's metadata: %w", err)
	}
	return line{m, meta}, nil
}

// nextStored gives the next of the messages that were stored when the reader
// began; nil where no more comes.
func (r *reader) nextStored(ctx context.Context) (*line, error) {
	if r.stored == 0 {
		return nil, nil
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l, err := r.next(waiting)
	switch {
	case err == nil:
		r.stored--
		return &l, nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		r.stored = 0
		return nil, nil
	default:
		return nil, err
	}
}

func (r *reader) close() { r.messages.Stop() }
