// Package chat is what the recipes beside it share: reading what users write, in
// order and each once, and answering. It knows the bridge's subjects alone; a bot
// of your own can start from a copy of it.
package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	stream    = "WA_RECV"
	tryAgain  = time.Second
	nothingTo = "holds nothing that a bot can read"
)

// Line is one session of the bridge, as a bot sees it.
type Line struct {
	JS      jetstream.JetStream
	Session string
	Log     *slog.Logger
}

// Message is one message that a user wrote, or the outcome of a command.
type Message struct {
	ID           string // WhatsApp's
	Key          string // Nats-Msg-Id: unique, and the same where it comes again
	Conversation string // whom to answer: phone number in digits, user id or group id
	Name         string // as the user calls himself
	Type         string // "text", "image", …
	Text         string // or the caption
	ReplyTo      string // the id of the message that this one quotes
	Content      map[string]any
	Header       nats.Header
	Data         []byte // as it is on NATS
}

// Main connects to NATS_URL, calls run until it returns or a signal comes, and
// ends the program.
func Main(run func(ctx context.Context, line Line) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := connect(ctx, run)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func connect(ctx context.Context, run func(context.Context, Line) error) error {
	session := os.Getenv("SESSION")
	if session == "" {
		return errors.New("want the session's id in SESSION, and NATS_URL")
	}
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	return run(ctx, Line{JS: js, Session: session, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
}

// Follow hands every message of the session to handle, one at a time and in
// order, from the moment on when durable was first used. What handle fails on
// comes again after a second, and nothing overtakes it. It returns when ctx ends.
func (l Line) Follow(ctx context.Context, durable string, handle func(context.Context, Message) error) error {
	consumer, err := l.JS.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: durable, FilterSubject: "wa.recv." + l.Session, DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1, // so that a message that fails holds the next ones
	})
	if err != nil {
		return fmt.Errorf("following %s: %w", l.Session, err)
	}
	messages, err := consumer.Messages(jetstream.WithMessagesErrOnMissingHeartbeat(false)) // wait for a server that is away
	if err != nil {
		return fmt.Errorf("following %s: %w", l.Session, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil // to be told to stop is no failure
		}
		if err != nil {
			return fmt.Errorf("following %s: %w", l.Session, err)
		}
		if err := l.settle(ctx, m, handle); err != nil {
			l.Log.Warn("settling a message failed; it comes again", "error", err)
		}
	}
}

func (l Line) settle(ctx context.Context, m jetstream.Msg, handle func(context.Context, Message) error) error {
	message, err := read(m)
	if err != nil {
		return m.TermWithReason("nothing that a bot can answer: " + err.Error())
	}
	if err := handle(ctx, message); err != nil {
		l.Log.Warn("handling a message failed; trying again", "error", err)
		return m.NakWithDelay(tryAgain)
	}
	return m.DoubleAck(ctx)
}

func read(m jetstream.Msg) (Message, error) {
	var data struct {
		Message struct {
			ID      string
			Type    string
			Context struct{ ID string }
		}
		Contact struct{ Profile struct{ Name string } }
	}
	var members struct{ Message map[string]json.RawMessage }
	if err := errors.Join(json.Unmarshal(m.Data(), &data), json.Unmarshal(m.Data(), &members)); err != nil {
		return Message{}, err
	}
	if data.Message.ID == "" {
		return Message{}, errors.New("a message without an id")
	}
	h := m.Headers()
	if h.Get("ce-subject") == "" {
		return Message{}, errors.New("a message from nobody")
	}
	message := Message{
		ID: data.Message.ID, Type: data.Message.Type, ReplyTo: data.Message.Context.ID, Name: data.Contact.Profile.Name,
		Key: h.Get(nats.MsgIdHdr), Conversation: h.Get("ce-subject"), Header: h, Data: m.Data(),
	}
	// Contacts are an array; a bot that wants them reads Data.
	if json.Unmarshal(members.Message[message.Type], &message.Content) == nil {
		message.Text, _ = message.Content["body"].(string)
		if caption, ok := message.Content["caption"].(string); ok {
			message.Text = caption
		}
	}
	return message, nil
}
