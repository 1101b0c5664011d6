package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

// Broker is the bridge's connection to NATS. Its methods are safe for
// concurrent use.
type Broker struct {
	config  Config
	names   bridge.Names
	log     *slog.Logger
	metrics *metrics

	line       line
	nc         *nats.Conn
	js         jetstream.JetStream
	connClosed chan struct{}
	answers    *answers
	refused    refusals
	stalls     stalls
	reopen     signal

	// What Ensure found out.
	shards      atomic.Int64
	sendCreated atomic.Int64 // Unix nanoseconds
	// replicated: a record may be answered by a leader that falls. See Store.
	replicated atomic.Bool
	// batches says which streams take batches.
	batches struct{ recv, dead atomic.Bool }

	// batchTurn is held while one batch is written.
	batchTurn sync.Mutex

	messages sync.Pool // of *nats.Msg, cleared: stores need not make one for each record
}

// Connect validates the configuration and connects. It waits up to
// Config.StartWait for a server that is not up. It looks at no stream: Ensure
// does.
func Connect(ctx context.Context, config Config) (*Broker, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("NATS configuration: %w", err)
	}
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{config: config, names: config.Names, log: config.Logger, connClosed: make(chan struct{})}
	b.stalls.log = b.log
	if b.metrics, err = newMetrics(config.Meter, config.Names); err != nil {
		return nil, err
	}
	b.answers = newAnswers()
	if err := b.dial(ctx); err != nil {
		return nil, err
	}
	if err := b.bind(); err != nil {
		b.nc.Close()
		return nil, err
	}
	go b.leaveHung()
	return b, nil
}

func (b *Broker) bind() error {
	if err := checkVersion(b.nc.ConnectedServerVersion()); err != nil {
		return err
	}
	var err error
	if b.config.Domain != "" {
		b.js, err = jetstream.NewWithDomain(b.nc, b.config.Domain)
	} else {
		b.js, err = jetstream.New(b.nc)
	}
	if err != nil {
		return fmt.Errorf("creating the JetStream client: %w", err)
	}
	return b.answers.subscribe(b.nc)
}

// Conn is the connection itself.
func (b *Broker) Conn() *nats.Conn { return b.nc }

// JetStream is the JetStream client on the connection, in its domain.
func (b *Broker) JetStream() jetstream.JetStream { return b.js }

// Names derives the names of subjects, streams and buckets.
func (b *Broker) Names() bridge.Names { return b.names }

// Shards is the number of shards that WA_SEND has; 0 before Ensure.
func (b *Broker) Shards() int { return int(b.shards.Load()) }

// SendCreated is when WA_SEND was created; zero before Ensure.
func (b *Broker) SendCreated() time.Time {
	ns := b.sendCreated.Load()
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Close closes the stores that are left, drains the connection and closes it,
// within ctx. Consumers are stopped before, by who started them.
func (b *Broker) Close(ctx context.Context) error {
	err := b.answers.closeStores(ctx)
	if drainErr := b.nc.Drain(); drainErr != nil && !errors.Is(drainErr, nats.ErrConnectionClosed) {
		// Nothing drains while disconnected.
		b.nc.Close()
	}
	select {
	case <-b.connClosed:
	case <-ctx.Done():
		b.nc.Close()
		err = errors.Join(err, fmt.Errorf("draining the NATS connection: %w", ctx.Err()))
	}
	return err
}

// signal wakes everyone who waits for it.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait gives a channel that the next broadcast closes.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) broadcast() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
