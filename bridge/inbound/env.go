package inbound

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"

	"wabridge/bridge"
)

// Env is what the sessions of a process share. It does not change once a session
// has it.
type Env struct {
	// Names are the deployment's subjects. Required.
	Names bridge.Names
	// Found and Spill are required.
	Found Found
	Spill Spill
	// Horizon is a sequence that WA_RECV is known to have reached, as it grows.
	Horizon atomic.Uint64
	// Window is the duplicates window of WA_RECV; 0 means DefaultWindow.
	Window time.Duration
	// Logger, TracerProvider and Metrics may be nil: then nothing is logged,
	// traced or counted.
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	Metrics        *Metrics

	prepared sync.Once
	fault    error
	streams  [streams]destination
	tracer   trace.Tracer
	// producer is what every span starts with; appending to it copies it.
	producer []trace.SpanStartOption
	warn     rate.Sometimes
}

// prepare fills in what is not set, once, and reports every fault.
func (e *Env) prepare() error {
	if e == nil {
		return errors.New("the environment is missing")
	}
	e.prepared.Do(func() { e.fault = e.fill() })
	return e.fault
}

func (e *Env) fill() error {
	var faults []error
	if e.Names.Prefix() == "" {
		faults = append(faults, errors.New("names are missing"))
	}
	if e.Found == nil {
		faults = append(faults, errors.New("found is missing"))
	}
	if e.Spill == nil {
		faults = append(faults, errors.New("spill is missing"))
	}
	if e.Window < 0 {
		faults = append(faults, fmt.Errorf("window %s is negative", e.Window))
	}
	if e.Window == 0 {
		e.Window = DefaultWindow
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.TracerProvider == nil {
		e.TracerProvider = tracenoop.NewTracerProvider()
	}
	if e.Metrics == nil {
		m, err := NewMetrics(noop.NewMeterProvider(), e.Names)
		faults = append(faults, err)
		e.Metrics = m
	}
	e.streams = destinations(e.Names)
	e.tracer = e.TracerProvider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	e.producer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	e.warn = rate.Sometimes{First: 10, Interval: time.Second}
	return errors.Join(faults...)
}
