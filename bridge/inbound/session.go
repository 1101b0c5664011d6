package inbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// DefaultWindow is the duplicates window of WA_RECV.
const DefaultWindow = 2 * time.Hour

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
	*Env // Required.
	// Session is the session's id. Required.
	Session string
	// Store takes the records, in order. Required, and not shared with another
	// Session.
	Store bridge.Store
	// Observe may be nil.
	Observe Observe
	// Past is what is stored of the session already.
	Past Position
}

// Session stores what one session's platform says.
type Session struct {
	env     *Env
	id      string
	source  string
	store   bridge.Store
	observe Observe
	// turn is held while a record is put: it keeps others back while one that may
	// be too large waits for its answer. A channel, so that waiting ends with ctx.
	turn chan struct{}

	mu     sync.Mutex
	tail   *flight // the last record put, while it is in flight
	gap    gap
	pos    Position      // what is stored of the numbered events
	again  Runs          // what was ahead of the Position that the platform was told: it may come again
	flying int           // numbered events between Receive and their end
	since  uint64        // those stand in WA_RECV behind this sequence
	unsure bool          // the store was closed over one that may be stored: since stays
	landed chan struct{} // closed when none is flying; nil: nobody waits
}

// New returns a Session, or an error that names every fault of cfg.
func New(cfg Config) (*Session, error) {
	faults := []error{cfg.prepare()}
	if !bridge.ValidID(cfg.Session) {
		faults = append(faults, fmt.Errorf("session id %q is not valid", cfg.Session))
	}
	if cfg.Store == nil {
		faults = append(faults, errors.New("store is missing"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("configuring inbound: %w", err)
	}
	return &Session{
		env: cfg.Env, id: cfg.Session, source: "/wabridge/" + cfg.Session, store: cfg.Store, observe: cfg.Observe,
		pos: cfg.Past, turn: make(chan struct{}, 1),
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
	s.depart(in)
	f := s.prepare(ctx, in)
	if err := s.receive(ctx, f); err != nil {
		s.land(in)
		s.env.Metrics.count(f.stream, refused)
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
	if f.command != nil && s.observe != nil {
		if err := s.observe(ctx, &f.command.status, f.command.callback); err != nil {
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
	if f.stream != streamRecv || f.at.IsZero() || time.Since(f.at) < s.env.Window-skew {
		return false, nil
	}
	return s.env.Found.FindRecv(ctx, s.id, f.at.Add(-skew), f.msgID())
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
	if err := s.store.Put(ctx, &f.record); err != nil {
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
