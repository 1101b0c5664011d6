package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/admin"
	"wabridge/codec"
)

// control does what is asked of the micro service; admin.Control. All of it is
// in JetStream, so any replica can answer for any session.
type control struct {
	registry *Registry
	js       jetstream.JetStream
	names    bridge.Names
}

func newControl(ctx context.Context, h *host) (*control, error) {
	registry, err := OpenRegistry(ctx, h.broker, h.cfg.Sessions)
	if err != nil {
		return nil, err
	}
	return &control{registry: registry, js: h.broker.JetStream(), names: h.names}, nil
}

// Status implements admin.Control.
func (c *control) Status(ctx context.Context, session string) (any, error) {
	if session != "" {
		s, err := c.registry.Get(ctx, session)
		if err != nil {
			return nil, missing(err)
		}
		return s, nil
	}
	all, err := c.registry.List(ctx)
	if err != nil {
		return nil, err
	}
	defined := make([]SessionStatus, 0, len(all))
	for _, s := range all {
		if s.Defined() {
			defined = append(defined, s)
		}
	}
	return map[string]any{"sessions": defined}, nil
}

// missing gives an error about a session that does not exist its code.
func missing(err error) error {
	if errors.Is(err, ErrNoSession) {
		return fmt.Errorf("%w (%w)", err, bridge.ErrNotFound)
	}
	return err
}

// SetPaused implements admin.Control.
func (c *control) SetPaused(ctx context.Context, session string, paused bool) (any, error) {
	do := c.registry.Resume
	if paused {
		do = c.registry.Pause
	}
	changed, err := do(ctx, session)
	if err != nil {
		return nil, missing(err)
	}
	return map[string]any{"session": session, "paused": paused, "changed": changed}, nil
}

// Redrive implements admin.Control.
func (c *control) Redrive(ctx context.Context, session string, sequence uint64, options []byte) (any, error) {
	var o RedriveOptions
	if strings.HasPrefix(strings.TrimSpace(string(options)), "{") {
		if err := json.Unmarshal(options, &o); err != nil {
			return nil, fmt.Errorf(`%w: want {"sequence": 17, "again": false, "ignore_deadline": false}`, admin.ErrInvalid)
		}
	}
	stream, err := c.js.Stream(ctx, c.names.DeadStream())
	if err != nil {
		return nil, fmt.Errorf("looking up the stream of dead letters: %w", err)
	}
	m, err := stream.GetMsg(ctx, sequence)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), err == nil && m.Subject != c.names.Dead(session):
		return nil, fmt.Errorf("session %s has no dead letter %d: %w", session, sequence, bridge.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("reading dead letter %d: %w", sequence, err)
	}
	msg, err := Redrive(c.names, &Letter{Session: session, Sequence: sequence, Header: m.Header, Body: m.Data}, o)
	if err != nil {
		return nil, fmt.Errorf("dead letter %d cannot be sent again: %w (%w)", sequence, err, bridge.ErrConflict)
	}
	ack, err := c.js.PublishMsg(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("storing the command: %w", err)
	}
	if ack.Duplicate {
		return nil, fmt.Errorf(`dead letter %d was sent again already, as command %d: say "again": true to do so once more (%w)`,
			sequence, ack.Sequence, bridge.ErrConflict)
	}
	return map[string]any{"session": session, "letter": sequence, "command": ack.Sequence, "ref": msg.Header.Get(codec.HeaderRef)}, nil
}

// sent is the answer to a send.
type sent struct {
	Session string `json:"session"`
	// Sequence is the command's in WA_SEND.
	Sequence uint64 `json:"sequence"`
	// Status is the outcome; "pending" where none came in time.
	Status string `json:"status"`
	// Report is the outcome as wa.status has it.
	Report json.RawMessage `json:"report,omitempty"`
}

// Send implements admin.Control. The command is published as it came, and stays
// stored whatever becomes of the wait. A command whose Nats-Msg-Id is known
// already is not stored again: the answer is the outcome of the first.
func (c *control) Send(ctx context.Context, session string, header map[string][]string, body []byte) (any, error) {
	if _, err := c.registry.Get(ctx, session); err != nil {
		return nil, missing(err)
	}
	msg := &nats.Msg{Subject: c.names.Send(session), Data: body, Header: nats.Header{}}
	for name, values := range header {
		if !strings.HasPrefix(strings.ToLower(name), "nats-") {
			msg.Header[name] = values
		}
	}
	msg.Header[codec.HeaderMsgID] = []string{rand.Text()}
	if id := nats.Header(header).Get(codec.HeaderMsgID); id != "" {
		msg.Header[codec.HeaderMsgID] = []string{id}
	}
	stream, err := c.js.Stream(ctx, c.names.RecvStream())
	if err != nil {
		return nil, fmt.Errorf("looking up the stream of outcomes: %w", err)
	}
	from := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{c.names.Status(session)}, InactiveThreshold: time.Minute,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: stream.CachedInfo().State.LastSeq + 1,
	}
	ack, err := c.js.PublishMsg(ctx, msg)
	if err != nil {
		return nil, fmt.Errorf("storing the command: %w", err)
	}
	answer := sent{Session: session, Sequence: ack.Sequence, Status: "pending"}
	if ack.Duplicate {
		if err := c.since(ctx, session, ack.Sequence, &from); err != nil {
			return answer, err
		}
	}
	if err := c.await(ctx, stream, from, &answer); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no outcome within %s; the command is stored as number %d and is still carried out: %w",
				admin.SendTimeout, ack.Sequence, context.DeadlineExceeded)
		}
		return answer, err
	}
	return answer, nil
}

// since has the wait for an outcome begin when its command was stored.
func (c *control) since(ctx context.Context, session string, sequence uint64, from *jetstream.OrderedConsumerConfig) error {
	commands, err := c.js.Stream(ctx, c.names.SendStream())
	if err != nil {
		return fmt.Errorf("looking up the stream of commands: %w", err)
	}
	first, err := commands.GetMsg(ctx, sequence)
	if err != nil {
		return fmt.Errorf("reading command %d, which had this id before: %w", sequence, err)
	}
	if !strings.HasSuffix(first.Subject, "."+session) {
		return fmt.Errorf("another session's command %d has this %s: ids are unique over all sessions (%w)",
			sequence, codec.HeaderMsgID, bridge.ErrConflict)
	}
	at := first.Time.Add(-time.Minute) // the clocks of two streams' leaders differ
	from.DeliverPolicy, from.OptStartSeq, from.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &at
	return nil
}

// await reads statuses until the outcome of the command.
func (c *control) await(ctx context.Context, stream jetstream.Stream, from jetstream.OrderedConsumerConfig, answer *sent) error {
	consumer, err := stream.OrderedConsumer(ctx, from)
	if err != nil {
		return fmt.Errorf("reading outcomes: %w", err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("reading outcomes: %w", err)
	}
	defer messages.Stop()
	id := fmt.Sprintf("%s:%d:outcome", answer.Session, answer.Sequence)
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("waiting for the outcome: %w", err)
		}
		if m.Headers().Get(codec.HeaderMsgID) != id {
			continue
		}
		report, err := codec.ParseReport(m.Data())
		if err != nil {
			return fmt.Errorf("reading the outcome: %w", err)
		}
		answer.Status, answer.Report = report.Status, m.Data()
		return nil
	}
}
