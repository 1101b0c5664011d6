// Command client is a whole program that sends and receives WhatsApp messages
// through NATS, and knows nothing of the bridge but its subjects.
//
//	client send SESSION TO TEXT [ID]       sends, waits for the outcome
//	client follow SESSION DURABLE [TYPE]   goes on where DURABLE stopped
//	client replay SESSION SINCE [TYPE]     everything since then (RFC 3339)
//
// TYPE is a ce-type, such as whatsapp.message.text.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const stream = "WA_RECV"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, append(os.Args[1:], "")); err != nil { // the last argument may be left out
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 4 {
		return errors.New("want send SESSION TO TEXT [ID], follow SESSION DURABLE [TYPE] or replay SESSION SINCE [TYPE]")
	}
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	switch {
	case args[0] == "send" && len(args) >= 5:
		return send(ctx, js, args[1], args[2], args[3], args[4])
	case args[0] == "follow":
		return follow(ctx, js, args[1], args[2], args[3])
	case args[0] == "replay":
		return replay(ctx, js, args[1], args[2], args[3])
	}
	return fmt.Errorf("what is %q, with %d arguments?", args[0], len(args)-2)
}

// send publishes a command and waits for the one word on it. With the same id it
// may be called again and again within two hours, and is one command.
func send(ctx context.Context, js jetstream.JetStream, session, to, text, id string) error {
	if id == "" {
		id = nats.NewInbox()
	}
	body, err := json.Marshal(map[string]string{"to": to, "text": text})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	since := time.Now().Add(-time.Minute)
	ack, err := js.Publish(ctx, "wa.send."+session, body, jetstream.WithMsgID(id))
	if err != nil {
		return fmt.Errorf("publishing: %w; publish again with the id %s", err, id)
	}
	if ack.Duplicate { // its outcome may be there already
		since = since.Add(-2 * time.Hour)
	}
	messages, err := ordered(ctx, js, "wa.status."+session, since)
	if err != nil {
		return err
	}
	defer messages.Stop()
	outcome := fmt.Sprintf("%s:%d:outcome", session, ack.Sequence)
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("waiting for the outcome of %s: %w", id, err)
		}
		if m.Headers().Get(nats.MsgIdHdr) != outcome {
			continue
		}
		var status struct {
			ID, Status string
			Error      struct{ Title, Detail string }
		}
		if err := json.Unmarshal(m.Data(), &status); err != nil {
			return fmt.Errorf("reading the outcome: %w", err)
		}
		if status.Status != "accepted" {
			return fmt.Errorf("%s: %s: %s", status.Status, status.Error.Title, status.Error.Detail)
		}
		_, err = fmt.Fprintln(os.Stdout, status.Status, status.ID)
		return err
	}
}

// ordered reads a subject from a time on, in order, and leaves nothing behind.
func ordered(ctx context.Context, js jetstream.JetStream, subject string, since time.Time) (jetstream.MessagesContext, error) {
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
	})
	if err != nil {
		return nil, err
	}
	return consumer.Messages()
}

// follow reads with a durable consumer: the server keeps how far it came, and
// what is not acknowledged comes again, also after a restart.
func follow(ctx context.Context, js jetstream.JetStream, session, durable, only string) error {
	consumer, err := js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: durable, FilterSubject: "wa.recv." + session, AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.WithMessagesErrOnMissingHeartbeat(false)) // wait for a server that is away
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if err := show(m, only); err != nil {
			return err
		}
		if err := m.Ack(); err != nil { // only after it is handled
			return fmt.Errorf("acknowledging: %w", err)
		}
	}
}

// replay reads what is there since a time.
func replay(ctx context.Context, js jetstream.JetStream, session, since, only string) error {
	start, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return err
	}
	messages, err := ordered(ctx, js, "wa.recv."+session, start)
	if err != nil {
		return err
	}
	defer messages.Stop()
	for pending := uint64(1); pending > 0; {
		m, err := messages.Next(jetstream.NextMaxWait(2 * time.Second))
		if errors.Is(err, nats.ErrTimeout) {
			return nil // there was nothing
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if err := show(m, only); err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		pending = meta.NumPending
	}
	return nil
}

// show prints a message of the type that is asked for.
func show(m jetstream.Msg, only string) error {
	kind := m.Headers().Get("ce-type")
	if only != "" && kind != only {
		return nil
	}
	_, err := fmt.Fprintf(os.Stdout, "%s %s %s\n", m.Headers().Get("ce-subject"), kind, m.Data())
	return err
}
