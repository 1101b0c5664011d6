package outbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

// Outcomes reads outcomes that are stored already.
type Outcomes interface {
	// Outcome reads the report at a sequence of WA_RECV. It blocks until
	// JetStream answers or ctx ends; bridge.ErrNotFound says that it is gone,
	// any other error is tried again.
	Outcome(ctx context.Context, sequence uint64) (codec.Report, error)
}

// Reader reads a session's commands by sequence.
type Reader interface {
	// ReadSend reads at most limit commands of a session from WA_SEND, in
	// order, from a sequence on. None at all means that the stream held no more
	// when it was asked, and must be true: what was delivered before and is not
	// read counts as erased. It blocks until JetStream answers or ctx ends; an
	// error is tried again.
	ReadSend(ctx context.Context, session string, from uint64, limit int) ([]*bridge.Delivery, error)
}

// Limits are the rates that a session keeps to, in sends per second. A rate of
// 0 is without limit; a burst below 1 counts as 1.
type Limits struct {
	SessionRate       float64
	SessionBurst      int
	ConversationRate  float64
	ConversationBurst int
}

// Config is what a Session needs. Fields without a default are required.
type Config struct {
	// Session is the session's id.
	Session string
	Names   bridge.Names
	// Created is when WA_SEND was created; it makes refs of commands that have
	// none of their own.
	Created time.Time
	// MaxAge is WA_SEND's; 0 keeps commands for ever.
	MaxAge time.Duration

	// Store is the session's ordered store, the same that its statuses go
	// through: so an outcome comes before the statuses that follow it.
	Store    bridge.Store
	Outcomes Outcomes
	Reader   Reader
	// Cursors is the bucket wa_backlog: a key per session, its value the
	// sequence to read from; no key or an empty value means live.
	Cursors bridge.KV
	// Ledger is the bucket wa_ledger. It is not used where the platform is
	// idempotent, and may be nil then.
	Ledger bridge.KV
	// Policy says what follows an unanswered send on a platform that is not
	// idempotent; empty means report.
	Policy bridge.Policy

	Limits Limits
	// App is shared by the sessions of one app; nil where nothing is shared.
	App *App

	// May says whether this process may act for the session now; nil means
	// always. It must be quick.
	May func() bool
	// Patience says how long a Deliver may wait for room before the session
	// goes to its backlog; nil means not at all. It suits a shard that has no
	// other session.
	Patience func() time.Duration
	// Settled lists sequences that the owner before has settled.
	Settled []uint64

	// Progress is how often a held command is kept from coming again; 10 s.
	Progress time.Duration
	// Doubt is how long an unanswered send waits for a status; 60 s.
	Doubt time.Duration
	// Stuck is how long a session may be unable to send before it goes to its
	// backlog; 5 s.
	Stuck time.Duration
	// MinBackoff and MaxBackoff bound the wait between tries; 250 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration

	// Logger is quiet by default.
	Logger *slog.Logger
	// TracerProvider makes the span of each command; nil makes none.
	TracerProvider trace.TracerProvider
	// Metrics is shared by all sessions of the process; nil measures nothing.
	Metrics *Metrics
}

func (c *Config) validate() error {
	var faults []error
	if !bridge.ValidID(c.Session) {
		faults = append(faults, fmt.Errorf("session id %q: want 1 to 64 letters, digits, _ or -", c.Session))
	}
	if c.Names.Prefix() == "" {
		faults = append(faults, errors.New("names are missing"))
	}
	for _, part := range []struct {
		name    string
		missing bool
	}{
		{"store", c.Store == nil},
		{"outcomes", c.Outcomes == nil},
		{"reader", c.Reader == nil},
		{"cursors", c.Cursors == nil},
	} {
		if part.missing {
			faults = append(faults, fmt.Errorf("%s is missing", part.name))
		}
	}
	if c.Policy != "" && c.Policy != bridge.Report && c.Policy != bridge.Resend {
		faults = append(faults, fmt.Errorf("policy %q: want report or resend", c.Policy))
	}
	if c.Limits.SessionRate < 0 || c.Limits.ConversationRate < 0 {
		faults = append(faults, errors.New("a rate is negative"))
	}
	return errors.Join(faults...)
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Progress, 10 * time.Second},
		{&c.Doubt, time.Minute},
		{&c.Stuck, 5 * time.Second},
		{&c.MinBackoff, 250 * time.Millisecond},
		{&c.MaxBackoff, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = &Metrics{}
	}
	if c.Policy == "" {
		c.Policy = bridge.Report
	}
	if c.App == nil {
		c.App = NewApp()
	}
}
