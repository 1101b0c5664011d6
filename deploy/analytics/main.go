// Command analytics lands what users write and what became of each command in
// Parquet files, for DuckDB or any other reader: each message of the stream WA_RECV
// in exactly one file, whatever crashes. It keeps no state but the files: their
// names say up to which sequence the stream is landed.
//
//	NATS_URL=nats://127.0.0.1:4222 go run ./deploy/analytics
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// config is where to read, where to write, and when a file is full.
type config struct {
	url, stream, dir string
	rows             int
	every            time.Duration
	log              *slog.Logger
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	c, err := fromEnvironment()
	if err == nil {
		err = run(ctx, c)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "analytics:", err)
		os.Exit(1)
	}
}

func fromEnvironment() (config, error) {
	c := config{
		url: setting("NATS_URL", nats.DefaultURL), stream: setting("STREAM", "WA_RECV"), dir: setting("DIR", "analytics"),
		log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	var faults [2]error
	if c.rows, faults[0] = strconv.Atoi(setting("ROWS", "50000")); faults[0] != nil || c.rows < 1 {
		faults[0] = errors.New("ROWS: want a number of rows")
	}
	if c.every, faults[1] = time.ParseDuration(setting("EVERY", "1m")); faults[1] != nil || c.every <= 0 {
		faults[1] = errors.New("EVERY: want a duration such as 1m")
	}
	return c, errors.Join(faults[:]...)
}

func setting(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// run lands both tables until ctx ends; then what has been read is landed, too.
func run(ctx context.Context, c config) error {
	nc, err := nats.Connect(c.url, nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connecting to NATS: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return land(ctx, c, js, "messages", "wa.recv.*", newMessage) })
	group.Go(func() error { return land(ctx, c, js, "statuses", "wa.status.*", newStatus) })
	return group.Wait()
}
