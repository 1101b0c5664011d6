package outbound

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
)

// Env is what the sessions of a process share, so that none of them holds a copy
// of it. Fields without a default are required. It is not changed once a session
// was made with it.
type Env struct {
	Names bridge.Names
	// Created is when WA_SEND was created; it makes refs of commands that have
	// none of their own.
	Created time.Time
	// MaxAge is WA_SEND's; 0 keeps commands for ever.
	MaxAge time.Duration

	Outcomes Outcomes
	Reader   Reader
	// Cursors is the bucket wa_backlog: a key per session, its value the
	// sequence to read from; no key or an empty value means live.
	Cursors bridge.KV

	// May says whether this process may act for its sessions now; nil means
	// always. It must be quick.
	May func() bool

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
	// Metrics measures all sessions; nil measures nothing.
	Metrics *Metrics

	once   sync.Once // for the defaults, fault and tracer
	fault  error
	tracer *tracer // nil: no spans
	awake  awake
}

// prepare sets the defaults and reports every fault at once. The first session
// does it for all.
func (e *Env) prepare() error {
	e.once.Do(func() {
		e.setDefaults()
		e.fault = e.validate()
		e.tracer = newTracer(e.TracerProvider, e.Names)
	})
	return e.fault
}

func (e *Env) validate() error {
	var faults []error
	for _, part := range []struct {
		what    string
		missing bool
	}{
		{"names are", e.Names.Prefix() == ""},
		{"outcomes are", e.Outcomes == nil},
		{"reader is", e.Reader == nil},
		{"cursors are", e.Cursors == nil},
	} {
		if part.missing {
			faults = append(faults, fmt.Errorf("%s missing", part.what))
		}
	}
	return errors.Join(faults...)
}

func (e *Env) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&e.Progress, 10 * time.Second},
		{&e.Doubt, time.Minute},
		{&e.Stuck, 5 * time.Second},
		{&e.MinBackoff, 250 * time.Millisecond},
		{&e.MaxBackoff, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.Metrics == nil {
		e.Metrics = &Metrics{}
	}
}
