package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/broker"
)

const (
	// startWait bounds how long a command waits for a server that is not up.
	startWait = 2 * time.Second
	// closeWait bounds how long it takes to leave.
	closeWait = 2 * time.Second
)

// client is what a command speaks to NATS with.
type client struct {
	broker *broker.Broker
	names  bridge.Names
	js     jetstream.JetStream
	log    *slog.Logger
}

// dial connects to NATS as the environment says. A command creates no stream.
// What goes wrong with the connection later is said on stderr.
func dial(ctx context.Context, stderr io.Writer) (*client, error) {
	config, err := loadBroker()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config.Logger, config.Name, config.StartWait = log, "wabridge command", startWait
	config.Manage = false
	b, err := broker.Connect(ctx, config)
	if errors.Is(err, nats.ErrNoServers) {
		return nil, fmt.Errorf("%w: nothing answers at %s", err, hosts(config.URL))
	}
	if err != nil {
		return nil, err
	}
	return &client{broker: b, names: b.Names(), js: b.JetStream(), log: log}, nil
}

// hosts are those of the servers, without what else stands in their addresses.
func hosts(servers string) string {
	var list []string
	for server := range strings.SplitSeq(servers, ",") {
		if u, err := url.Parse(server); err == nil && u.Host != "" {
			list = append(list, u.Host)
		}
	}
	return cmp.Or(strings.Join(list, ", "), "the servers of the context")
}

// close leaves NATS, also where ctx is over.
func (c *client) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	if err := c.broker.Close(ctx); err != nil {
		c.log.Warn("closing the NATS connection", slog.Any("error", err))
	}
}

// publish stores a command.
func (c *client) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ack, err := c.js.PublishMsg(ctx, msg)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return nil, fmt.Errorf("no stream takes %s: start the bridge once, or see wabridge streams", msg.Subject)
	}
	if err != nil {
		return nil, fmt.Errorf("publishing to %s: %w", msg.Subject, err)
	}
	return ack, nil
}

// stream looks a stream up; one that is missing is an error that says what to do.
func (c *client) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	s, err := c.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("there is no stream %s: start the bridge once, or see wabridge streams", name)
	}
	if err != nil {
		return nil, fmt.Errorf("looking up stream %s: %w", name, err)
	}
	return s, nil
}
