package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

// KV opens a bucket by its kind; Ensure has made sure that it is there.
//
// Get and All ask the leader of the bucket's stream: a direct get may be
// answered by a copy that lags, and "no such key" decides whether a session is
// live or a send was tried.
func (b *Broker) KV(ctx context.Context, kind string) (bridge.KV, error) {
	bucket := b.names.Bucket(kind)
	var kv jetstream.KeyValue
	err := b.open(ctx, bucket, func(ctx context.Context) (err error) {
		kv, err = b.js.KeyValue(ctx, bucket)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening bucket %s: %w", bucket, err)
	}
	k := &keyValue{broker: b, kv: kv, stream: "KV_" + bucket, prefix: "$KV." + bucket + "."}
	k.writes = k.prefix
	if domain := b.config.Domain; domain != "" {
		k.writes = "$JS." + domain + ".API." + k.prefix
	}
	return k, nil
}

type keyValue struct {
	broker *Broker
	kv     jetstream.KeyValue
	stream string
	prefix string
	writes string // the prefix of what is written, from wherever we are
}

func (k *keyValue) Get(ctx context.Context, key string) (bridge.Entry, error) {
	m, err := k.broker.leaderGet(ctx, k.stream, getRequest{LastFor: k.prefix + key})
	if err != nil {
		return bridge.Entry{}, k.fault("reading", err)
	}
	if removed(m.header) {
		return bridge.Entry{}, k.fault("reading", bridge.ErrNotFound)
	}
	return bridge.Entry{Key: key, Value: m.body, Revision: m.sequence}, nil
}

func (k *keyValue) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := k.create(ctx, key, value)
	return revision, k.fault("creating", err)
}

func (k *keyValue) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	next, err := k.write(ctx, key, over(revision), value)
	return next, k.fault("updating", err)
}

func (k *keyValue) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := k.write(ctx, key, nats.Header{}, value)
	return revision, k.fault("writing", err)
}

func (k *keyValue) Delete(ctx context.Context, key string) error {
	_, err := k.write(ctx, key, nats.Header{headerOperation: {"DEL"}}, nil)
	return k.fault("deleting", err)
}

func (k *keyValue) All(ctx context.Context) ([]bridge.Entry, error) {
	entries := make(map[string]bridge.Entry)
	err := k.broker.scan(ctx, k.stream, k.latest(), func(m *nats.Msg, at position) error {
		e := k.entry(m, at)
		// A key may change while it is read.
		if e.Deleted {
			delete(entries, e.Key)
		} else {
			entries[e.Key] = *e
		}
		return nil
	})
	if err != nil {
		return nil, k.fault("reading", err)
	}
	all := make([]bridge.Entry, 0, len(entries))
	for _, e := range entries {
		all = append(all, e)
	}
	return all, nil
}

// Watch does not end on an error: it logs it, begins again behind what it has
// seen, and returns when ctx ends.
func (k *keyValue) Watch(ctx context.Context, f func(*bridge.Entry)) error {
	w := &watch{kv: k, f: f}
	for wait := followAgain; ; wait = min(2*wait, maxReopen) {
		seen := w.seen
		err := w.run(ctx)
		if w.seen > seen {
			wait = followAgain
		}
		if ctx.Err() == nil {
			k.broker.log.Debug("watching a bucket begins again", slog.String("bucket", k.kv.Bucket()), slog.Any("error", err))
		}
		if err := k.broker.pauseUntil(ctx, wait); err != nil {
			return fmt.Errorf("watching bucket %s: %w", k.kv.Bucket(), err)
		}
	}
}

// watch is where a Watch stands.
type watch struct {
	kv   *keyValue
	f    func(*bridge.Entry)
	seen uint64 // the last revision
	told bool   // f(nil) was called
}

func (w *watch) run(ctx context.Context) error {
	b := w.kv.broker
	end, err := b.lastOf(ctx, w.kv.stream, w.kv.prefix+">")
	if err != nil {
		return err
	}
	w.tell(end)
	config := w.kv.latest()
	if w.seen > 0 {
		continueBehind(&config, w.seen)
	}
	return b.follow(ctx, w.kv.stream, config, func(m *nats.Msg, at position) error {
		w.seen = at.stream
		e := w.kv.entry(m, at)
		// Before the first f(nil) a removal is nothing that was there.
		if w.told || !e.Deleted {
			w.f(e)
		}
		w.tell(end)
		return nil
	})
}

// tell calls f(nil) once, when everything up to end was seen.
func (w *watch) tell(end uint64) {
	if !w.told && w.seen >= end {
		w.told = true
		w.f(nil)
	}
}

// latest asks for the last value of every key, and then for changes.
func (k *keyValue) latest() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		FilterSubjects: []string{k.prefix + ">"},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
	}
}

func (k *keyValue) entry(m *nats.Msg, at position) *bridge.Entry {
	return &bridge.Entry{
		Key:      strings.TrimPrefix(m.Subject, k.prefix),
		Value:    m.Data,
		Revision: at.stream,
		Deleted:  removed(m.Header),
	}
}

const headerOperation = "KV-Operation"

// removed tells the markers that stand for a removed key.
func removed(header map[string][]string) bool {
	return len(header[headerOperation]) > 0 || len(header["Nats-Marker-Reason"]) > 0
}

// codeConflictReplicated is what a stream with copies answers to a
// compare-and-set that lost.
const codeConflictReplicated = jetstream.JSErrCodeStreamWrongLastSequenceConstant

func (k *keyValue) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	if conflicts(err) {
		err = bridge.ErrConflict
	}
	return fmt.Errorf("%s a key of bucket %s: %w", doing, k.kv.Bucket(), err)
}
