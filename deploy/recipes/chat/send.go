package chat

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	outcomeIn = 20 * time.Second // less than the 30 s that a message has to be acknowledged
	traceName = "traceparent"
)

// Send publishes a command. With the same id, within two hours, it is one
// command; so a message that is handled twice is answered once. The trace goes on
// from cause.
func (l Line) Send(ctx context.Context, id string, cause Message, command map[string]any) error {
	m, err := l.command("wa.send."+l.Session, id, cause, command)
	if err != nil {
		return err
	}
	if _, err := l.JS.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("publishing a command: %w", err)
	}
	return nil
}

// Outcome is Send that waits for the outcome: the id of the message that was made,
// or "" where the command was refused.
func (l Line) Outcome(ctx context.Context, id string, cause Message, command map[string]any) (string, error) {
	m, err := l.command("wa.ctl.send."+l.Session, id, cause, command)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, outcomeIn)
	defer cancel()
	answer, err := l.JS.Conn().RequestMsgWithContext(ctx, m)
	if err != nil {
		return "", fmt.Errorf("asking for an outcome: %w", err)
	}
	if text := answer.Header.Get(micro.ErrorHeader); text != "" {
		return "", fmt.Errorf("asking for an outcome: %s", text)
	}
	var outcome struct {
		Status string
		Report struct{ ID string }
	}
	if err := json.Unmarshal(answer.Data, &outcome); err != nil {
		return "", fmt.Errorf("reading an outcome: %w", err)
	}
	switch outcome.Status {
	case "accepted", "rejected", "expired", "unknown":
		return outcome.Report.ID, nil
	}
	return "", errors.New("the command has no outcome yet")
}

func (l Line) command(subject, id string, cause Message, command map[string]any) (*nats.Msg, error) {
	body, err := json.Marshal(command)
	if err != nil {
		return nil, fmt.Errorf("writing a command: %w", err)
	}
	m := nats.NewMsg(subject)
	m.Data = body
	m.Header.Set(nats.MsgIdHdr, id)
	if trace := cause.Header[traceName]; len(trace) > 0 {
		m.Header[traceName] = trace
	}
	return m, nil
}

// KeyOf makes a key of a KV bucket out of a message's id, which may hold
// characters that a key may not.
func KeyOf(id string) string { return "m" + base64.RawURLEncoding.EncodeToString([]byte(id)) }

// To adds to a command whom it is for.
func To(conversation string, command map[string]any) map[string]any {
	switch {
	case strings.Trim(conversation, "0123456789") == "":
		command["to"] = "+" + conversation
	case len(conversation) > 3 && conversation[2] == '.':
		command["recipient"] = conversation // a user who shows no number
	default:
		command["to"], command["recipient_type"] = conversation, "group"
	}
	return command
}

// Quote adds to a command which message it answers.
func Quote(id string, command map[string]any) map[string]any {
	command["context"] = map[string]any{"message_id": id}
	return command
}
