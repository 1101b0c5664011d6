package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge"
)

// readBytes bounds what one ReadSend asks for.
const readBytes = 4 << 20

// ReadSend reads up to limit commands of a session from WA_SEND, in order, the
// first at sequence from or after it. It gives fewer where they are large, and
// none only where the stream's leader has none. Settling them does nothing.
func (b *Broker) ReadSend(ctx context.Context, session string, from uint64, limit int) ([]*bridge.Delivery, error) {
	shard := bridge.Shard(session, b.Shards())
	subject := b.names.Outbox(shard, session)
	stored, err := b.directBatch(ctx, b.names.SendStream(), getRequest{
		Seq: max(from, 1), NextFor: subject, Batch: limit, MaxBytes: readBytes,
	})
	if err != nil {
		return nil, fmt.Errorf("reading commands of session %s: %w", session, err)
	}
	if len(stored) == 0 {
		// A copy that lags may have answered: only the leader knows the end.
		m, err := b.leaderGet(ctx, b.names.SendStream(), getRequest{Seq: max(from, 1), NextFor: subject})
		if errors.Is(err, bridge.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading commands of session %s: %w", session, err)
		}
		stored = append(stored, m)
	}
	deliveries := make([]*bridge.Delivery, len(stored))
	for i, m := range stored {
		deliveries[i] = &bridge.Delivery{
			Session: session, Shard: shard, Sequence: m.sequence, Stored: m.time, Pending: m.pending,
			Header: m.header, Body: m.body, Settler: nothingToSettle{},
		}
	}
	return deliveries, nil
}

// nothingToSettle settles what was read and not delivered.
type nothingToSettle struct{}

func (nothingToSettle) Ack() error                  { return nil }
func (nothingToSettle) TermWithReason(string) error { return nil }
func (nothingToSettle) InProgress() error           { return nil }

// Outcome reads the record of WA_RECV that stands at a sequence, or gives
// bridge.ErrNotFound.
func (b *Broker) Outcome(ctx context.Context, sequence uint64) (subject string, header map[string][]string, body []byte, err error) {
	stream := b.names.RecvStream()
	found, err := b.directBatch(ctx, stream, getRequest{Seq: sequence, Batch: 1})
	if err == nil && (len(found) == 0 || found[0].sequence != sequence) {
		// A copy that lags may have answered.
		var m *storedMessage
		m, err = b.leaderGet(ctx, stream, getRequest{Seq: sequence})
		found = []*storedMessage{m}
	}
	if err != nil {
		return "", nil, nil, fmt.Errorf("reading %s at %d: %w", stream, sequence, err)
	}
	return found[0].subject, found[0].header, found[0].body, nil
}

// lastOf is the sequence of the last message on a subject, as the stream's
// leader knows it; 0 where there is none.
func (b *Broker) lastOf(ctx context.Context, stream, subject string) (uint64, error) {
	m, err := b.leaderGet(ctx, stream, getRequest{LastFor: subject})
	if errors.Is(err, bridge.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.sequence, nil
}

// getRequest asks for stored messages.
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
}

// storedMessage is a message as a stream holds it.
type storedMessage struct {
	subject  string
	sequence uint64
	time     time.Time
	pending  uint64 // how many more a batch could have given
	header   map[string][]string
	body     []byte
}

func (b *Broker) apiSubject(what, stream string) string {
	if b.config.Domain != "" {
		return "$JS." + b.config.Domain + ".API." + what + "." + stream
	}
	return "$JS.API." + what + "." + stream
}

// directBatch reads from any copy of a stream, which may lag behind its
// leader.
func (b *Broker) directBatch(ctx context.Context, stream string, request getRequest) ([]*storedMessage, error) {
	ctx, cancel := b.call(ctx)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	inbox := b.nc.NewInbox()
	// A channel of its own holds what was asked for and the end; SubscribeSync
	// would make one for 64 Ki messages, half a megabyte each time.
	answers := make(chan *nats.Msg, request.Batch+1)
	sub, err := b.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	// Failing to unsubscribe means that the connection is gone.
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(b.apiSubject("DIRECT.GET", stream), inbox, body); err != nil {
		return nil, err
	}
	var found []*storedMessage
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case m := <-answers:
			stored, err := readDirect(m)
			if err != nil {
				return nil, err
			}
			if stored == nil {
				return found, nil
			}
			found = append(found, stored)
		}
	}
}

// leaderGet reads one message from the stream's leader, or gives
// bridge.ErrNotFound.
func (b *Broker) leaderGet(ctx context.Context, stream string, request getRequest) (*storedMessage, error) {
	ctx, cancel := b.call(ctx)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	m, err := b.nc.RequestWithContext(ctx, b.apiSubject("STREAM.MSG.GET", stream), body)
	if err != nil {
		return nil, err
	}
	return readLeader(m.Data)
}
