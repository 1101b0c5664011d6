package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// control speaks to the simulator's control API.
type control struct {
	base   string
	client *http.Client
}

func newControl(base string) *control {
	return &control{base: base, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

func (c *control) close() { c.client.CloseIdleConnections() }

// errRefused is wrapped by what the simulator itself answers.
var errRefused = errors.New("the simulator refuses")

// once makes one request.
func (c *control) once(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding %s: %w", path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s %s: %d %s", errRefused, method, path, resp.StatusCode, bytes.TrimSpace(answer))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// call makes a request until the simulator answers it: it may be dead at the
// moment, or paused.
func (c *control) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := c.once(ctx, method, path, in, out)
		if err == nil || errors.Is(err, errRefused) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("asking the simulator: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connect opens a connection of our own to NATS, past the links.
func (w *world) connect(name string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect("nats://"+strings.Join(w.natsAddrs, ",nats://"), nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectBufSize(-1), nats.Timeout(5*time.Second), nats.PingInterval(3*time.Second), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("connecting to JetStream: %w", err)
	}
	return nc, js, nil
}

// awaitJetStream waits until JetStream answers; a cluster elects first.
func (w *world) awaitJetStream(ctx context.Context) error {
	nc, js, err := w.connect("chaos waits")
	if err != nil {
		return err
	}
	defer nc.Close()
	return until(ctx, time.Minute, "JetStream answers", func(ctx context.Context) bool {
		_, err := js.AccountInfo(ctx)
		return err == nil
	})
}

// until waits for something, for as long as wait. Each look may take two
// seconds: what it asks may be lost.
func until(ctx context.Context, wait time.Duration, what string, cond func(ctx context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	look := func() bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return cond(ctx)
	}
	for !look() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// await waits for a moment; false where ctx ended first.
func await(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
