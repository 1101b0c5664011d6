package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

const (
	// scanWait is how long a scan reads with one consumer before it asks the
	// leader again where the end is.
	scanWait = 5 * time.Second
	// followAgain is the pause before something is read with a new consumer.
	followAgain = 50 * time.Millisecond
	// readerExpires removes a consumer of a reader that could not delete it.
	readerExpires = time.Minute
	// fewRecords is what ScanRecv reads without a consumer: each costs some 0.1 ms.
	fewRecords = 512
)

// errEnough ends a scan early, without an error.
var errEnough = errors.New("enough")

// ScanRecv calls f with the session and the headers of what WA_RECV holds, from
// a sequence to the end as it is now, in order. An error of f ends the scan and
// is returned. It blocks until JetStream has answered or ctx ends.
//
// What is near the end is asked for: a consumer of a stream with copies takes the
// servers a tenth of a second to make.
func (b *Broker) ScanRecv(ctx context.Context, from uint64, f func(session string, header map[string][]string) error) error {
	record := func(subject string, header map[string][]string) error {
		return f(subject[strings.LastIndexByte(subject, '.')+1:], header)
	}
	from, over, err := b.scanFew(ctx, max(from, 1), record)
	if err == nil && !over {
		err = b.scan(ctx, b.names.RecvStream(), jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:   from,
			HeadersOnly:   true,
		}, func(m *nats.Msg, _ position) error { return record(m.Subject, m.Header) })
	}
	if err != nil {
		return fmt.Errorf("reading what is stored: %w", err)
	}
	return nil
}

// scanFew is ScanRecv of what is not far from the end. It returns where to go on,
// or that it is over.
func (b *Broker) scanFew(ctx context.Context, from uint64, f func(subject string, header map[string][]string) error) (next uint64, over bool, err error) {
	stream := b.names.RecvStream()
	end, err := b.end(ctx, stream, nil)
	if err != nil || end >= from+fewRecords {
		return from, false, err
	}
	for from <= end {
		found, err := b.directBatch(ctx, stream, getRequest{Seq: from, NextFor: ">", Batch: fewRecords, MaxBytes: readBytes})
		if err != nil || len(found) == 0 { // none: a copy that lags has answered
			return from, false, err
		}
		for _, m := range found {
			if err := f(m.subject, m.header); err != nil {
				return from, false, err
			}
			from = m.sequence + 1
		}
	}
	return from, true, nil
}

// RecvEnd is a sequence that WA_RECV has reached: whatever is stored after the
// call stands behind it. It blocks until JetStream answers or ctx ends.
func (b *Broker) RecvEnd(ctx context.Context) (uint64, error) {
	ctx, cancel := b.call(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, b.names.RecvStream())
	if err != nil {
		return 0, fmt.Errorf("reading the end of what is stored: %w", err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// FindRecv reports whether a message with this Nats-Msg-Id was stored on
// wa.recv of the session at or after since. It reads the headers of everything
// stored there since then.
func (b *Broker) FindRecv(ctx context.Context, session string, since time.Time, msgID string) (bool, error) {
	stream, subject := b.names.RecvStream(), b.names.Recv(session)
	first, err := b.leaderGet(ctx, stream, getRequest{StartTime: &since, NextFor: subject})
	if errors.Is(err, bridge.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for a message of session %s: %w", session, err)
	}
	found := false
	err = b.scan(ctx, stream, jetstream.ConsumerConfig{
		FilterSubjects: []string{subject},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    first.sequence,
		HeadersOnly:    true,
	}, func(m *nats.Msg, _ position) error {
		if m.Header.Get(jetstream.MsgIDHeader) == msgID {
			found = true
			return errEnough
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("looking for a message of session %s: %w", session, err)
	}
	return found, nil
}

// scan calls f for what a stream holds, up to the end that its leader knows.
// The copy that is read from may lag; the scan waits for it.
func (b *Broker) scan(ctx context.Context, stream string, config jetstream.ConsumerConfig, f func(*nats.Msg, position) error) error {
	end, err := b.end(ctx, stream, config.FilterSubjects)
	if err != nil || end == 0 || end < config.OptStartSeq {
		return err
	}
	for {
		err := b.scanOnce(ctx, stream, &config, end, f)
		if err == nil || ctx.Err() != nil || !errors.Is(err, errInterrupted) {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
		// What was the end may be gone by age.
		now, err := b.end(ctx, stream, config.FilterSubjects)
		if err != nil {
			return err
		}
		if end = min(end, now); end < config.OptStartSeq || end == 0 {
			return nil
		}
		if err := pause(ctx, followAgain); err != nil {
			return err
		}
	}
}

// scanOnce reads with one consumer, and moves config behind what was read.
func (b *Broker) scanOnce(ctx context.Context, stream string, config *jetstream.ConsumerConfig, end uint64,
	f func(*nats.Msg, position) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, scanWait)
	defer cancel()
	return b.follow(ctx, stream, *config, func(m *nats.Msg, at position) error {
		if err := f(m, at); err != nil {
			return err
		}
		continueBehind(config, at.stream)
		if at.stream >= end {
			return errEnough
		}
		return nil
	})
}

// continueBehind makes a consumer begin after a message that was read.
func continueBehind(config *jetstream.ConsumerConfig, sequence uint64) {
	config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
	config.OptStartSeq = sequence + 1
}

// end is the sequence of the last message on any of the subjects, or on any at
// all where none is named.
func (b *Broker) end(ctx context.Context, stream string, subjects []string) (uint64, error) {
	if len(subjects) == 0 {
		return b.lastOf(ctx, stream, ">")
	}
	var end uint64
	for _, subject := range subjects {
		last, err := b.lastOf(ctx, stream, subject)
		if err != nil {
			return 0, err
		}
		end = max(end, last)
	}
	return end, nil
}

// errInterrupted is wrapped by the errors after which reading may go on.
var errInterrupted = errors.New("reading was interrupted")

// follow calls f for what a stream holds and for what comes, with a consumer of
// its own, until f gives an error, which it returns. Everything else that ends
// it is an errInterrupted: ctx, a lost connection, a message that did not come
// through. f is not called any more when it returns.
func (b *Broker) follow(ctx context.Context, stream string, config jetstream.ConsumerConfig, f func(*nats.Msg, position) error) error {
	config.AckPolicy = jetstream.AckNonePolicy
	config.MemoryStorage = true
	config.Replicas = 1
	config.InactiveThreshold = readerExpires
	call, cancel := b.call(ctx)
	consumer, err := b.js.CreateConsumer(call, stream, config)
	cancel()
	if err != nil {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	name := consumer.CachedInfo().Name
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWait)
		defer cancel()
		// It expires by itself where it cannot be deleted.
		_ = b.js.DeleteConsumer(ctx, stream, name)
	}()
	var ended error
	p, err := b.newPull(stream, name, func(m *nats.Msg, at position) error {
		ended = f(m, at)
		return ended
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errInterrupted, err)
	}
	why := b.watchOver(ctx, p)
	p.close()
	if ended != nil {
		return ended
	}
	return fmt.Errorf("%w: %w", errInterrupted, why)
}

// watchOver waits until a pull is in trouble or ctx ends.
func (b *Broker) watchOver(ctx context.Context, p *pull) error {
	silence := time.NewTicker(pullHeartbeat)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-p.broken:
			return err
		case <-p.reconnected:
			// What the server sent into the lost connection is missing.
			return errors.New("the connection was restored")
		case <-silence.C:
			if p.silent() {
				return errors.New("the server says nothing")
			}
		}
	}
}
