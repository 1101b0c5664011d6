package inbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"

	"wabridge/bridge"
	"wabridge/codec"
)

// DefaultWindow is the duplicates window of WA_RECV.
const DefaultWindow = 2 * time.Hour

// Positions keeps how far a session's events are stored.
type Positions interface {
	// Load returns the zero Position where none was saved.
	Load(ctx context.Context, session string) (Position, error)
	Save(ctx context.Context, session string, p Position) error
}

// Scan reads back what is stored of a session.
type Scan interface {
	// ScanRecv calls f for every message of the session in WA_RECV, whatever its
	// subject, from the stream sequence from on to the end, in order. It ends
	// with f's error.
	ScanRecv(ctx context.Context, session string, from uint64, f func(sequence uint64, header map[string][]string) error) error
}

// Found looks for one message.
type Found interface {
	// FindRecv reports whether WA_RECV holds a message of the session with the
	// given Nats-Msg-Id that was stored at since or later.
	FindRecv(ctx context.Context, session string, since time.Time, msgID string) (bool, error)
}

// Spill keeps bodies that are too large for a NATS message.
type Spill interface {
	// Put stores what r holds in wa_media, under name or a name of its own, and
	// returns the name. It blocks until it is stored; doing it again is harmless.
	Put(ctx context.Context, name string, r io.Reader) (string, error)
}

// Observe is told of a status of one of our commands before the status is
// stored, and blocks until it may be. An error means that it may not.
type Observe func(ctx context.Context, status *codec.Status, callback codec.Callback) error

// Config says what a Session works with.
type Config struct {
	// Session is the session's id. Required.
	Session string
	// Names are the deployment's subjects. Required.
	Names bridge.Names
	// Store takes the records, in order. Required, and not shared with another
	// Session.
	Store bridge.Store
	// Positions, Scan, Found and Spill are required.
	Positions Positions
	Scan      Scan
	Found     Found
	Spill     Spill
	// Observe may be nil.
	Observe Observe
	// Window is the duplicates window of WA_RECV; 0 means DefaultWindow.
	Window time.Duration
	// Logger, TracerProvider and Metrics may be nil: then nothing is logged,
	// traced or counted. One Metrics serves all sessions.
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	Metrics        *Metrics
}

// Validate reports every fault of the configuration at once.
func (c *Config) Validate() error {
	var faults []error
	if !bridge.ValidID(c.Session) {
		faults = append(faults, fmt.Errorf("session id %q is not valid", c.Session))
	}
	if c.Names.Prefix() == "" {
		faults = append(faults, errors.New("names are missing"))
	}
	for name, missing := range map[string]bool{
		"store": c.Store == nil, "positions": c.Positions == nil, "scan": c.Scan == nil,
		"found": c.Found == nil, "spill": c.Spill == nil,
	} {
		if missing {
			faults = append(faults, errors.New(name+" is missing"))
		}
	}
	if c.Window < 0 {
		faults = append(faults, fmt.Errorf("window %s is negative", c.Window))
	}
	return errors.Join(faults...)
}

// Session stores what one session's platform says.
type Session struct {
	cfg     Config
	source  string
	streams [streams]destination
	tracer  trace.Tracer
	// producer is what every span starts with; appending to it copies it.
	producer []trace.SpanStartOption
	// turn is held while a record is put: it keeps others back while one that may
	// be too large waits for its answer. A channel, so that waiting ends with ctx.
	turn chan struct{}
	warn rate.Sometimes

	mu    sync.Mutex
	tail  *flight  // the last record put, while it is in flight
	gap   Position // the lowest numbered event that could not be stored; 0 without
	pos   Position // how far events are stored
	saved Position
	ahead runs // what is stored behind pos
}

// New returns a Session, or an error that names every fault of cfg.
func New(cfg Config) (*Session, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring inbound: %w", err)
	}
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = tracenoop.NewTracerProvider()
	}
	if cfg.Metrics == nil {
		m, err := NewMetrics(noop.NewMeterProvider(), cfg.Names)
		if err != nil {
			return nil, err
		}
		cfg.Metrics = m
	}
	return &Session{
		cfg:      cfg,
		source:   "/wabridge/" + cfg.Session,
		streams:  destinations(cfg.Names, cfg.Session),
		tracer:   cfg.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		producer: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)},
		turn:     make(chan struct{}, 1),
		warn:     rate.Sometimes{First: 10, Interval: time.Second},
	}, nil
}

// Receive takes one thing that the platform said and gives it to the store. It
// blocks while the store is behind, while Observe does, and, for a large body,
// until JetStream has answered. After nil the Acker of in hears what became of
// it, once; after an error in was not taken and may come again.
//
// Calls for one session are stored in the order in which they are made. Calls
// made at the same time are stored in any order.
func (s *Session) Receive(ctx context.Context, in *bridge.Inbound) error {
	f := s.prepare(ctx, in)
	if err := s.receive(ctx, f); err != nil {
		s.cfg.Metrics.count(f.stream, refused)
		endSpan(f.span, refused)
		return err
	}
	return nil
}

func (s *Session) receive(ctx context.Context, f *flight) error {
	repeated, err := s.repeated(ctx, f)
	if err != nil {
		return fmt.Errorf("looking for an earlier copy: %w", err)
	}
	if repeated {
		return s.repeat(ctx, f)
	}
	if f.command != nil && s.cfg.Observe != nil {
		if err := s.cfg.Observe(ctx, &f.command.status, f.command.callback); err != nil {
			return fmt.Errorf("settling the command of a status: %w", err)
		}
	}
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.release()
	if len(f.record.Body) > large {
		return s.putLarge(ctx, f)
	}
	return s.put(ctx, f)
}

// skew is how far WhatsApp's clock may run ahead of JetStream's.
const skew = time.Minute

// repeated reports whether f is known to be stored: a numbered event by Position,
// a message of another platform by a look into WA_RECV where an earlier copy of
// it may have left the duplicates window. What else comes as late may be stored
// twice; its id and rank make that harmless.
func (s *Session) repeated(ctx context.Context, f *flight) (bool, error) {
	if f.in.Sequence > 0 {
		return s.known(f.in), nil
	}
	if f.stream != streamRecv || f.at.IsZero() || time.Since(f.at) < s.cfg.Window-skew {
		return false, nil
	}
	return s.cfg.Found.FindRecv(ctx, s.cfg.Session, f.at.Add(-skew), f.msgID())
}

// repeat ends f as stored. Its Acker hears so after those of what was taken
// before it.
func (s *Session) repeat(ctx context.Context, f *flight) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.release()
	s.mu.Lock()
	if s.tail != nil {
		s.tail.after = append(s.tail.after, f)
		f = nil
	}
	s.mu.Unlock()
	if f != nil {
		f.finish(bridge.Stored{}, found)
	}
	return nil
}

// put gives f to the store.
func (s *Session) put(ctx context.Context, f *flight) error {
	if err := s.cfg.Store.Put(ctx, &f.record); err != nil {
		return fmt.Errorf("storing: %w", err)
	}
	s.mu.Lock()
	if !f.ended {
		s.tail = f
	}
	s.mu.Unlock()
	return nil
}

// take waits for the turn to put.
func (s *Session) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to store: %w", context.Cause(ctx))
	}
}

func (s *Session) release() { <-s.turn }
