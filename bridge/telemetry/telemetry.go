package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// ShutdownTimeout bounds Shutdown, whatever its context says.
const ShutdownTimeout = 5 * time.Second

// The formats of log lines.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// Config says who the process is and how it logs.
type Config struct {
	// Service is the service's name; OTEL_SERVICE_NAME overrides it. Required.
	Service string
	// Version of the service; empty is left out.
	Version string
	// Instance tells replicas apart; empty is left out.
	Instance string
	// Output takes the log lines; nil means standard error.
	Output io.Writer
	// LogLevel is the least level that is logged; the zero value is info.
	LogLevel slog.Level
	// LogFormat is FormatText or FormatJSON; empty means text.
	LogFormat string
	// Spans takes every span that ends, besides what the variables choose; nil
	// is nobody. It is shut down with the rest.
	Spans sdktrace.SpanProcessor
}

// Validate reports every fault of the configuration at once.
func (c *Config) Validate() error {
	var faults []error
	if c.Service == "" {
		faults = append(faults, errors.New("service name is missing"))
	}
	switch c.LogFormat {
	case "", FormatText, FormatJSON:
	default:
		faults = append(faults, fmt.Errorf("log format %q: want %s or %s", c.LogFormat, FormatText, FormatJSON))
	}
	return errors.Join(faults...)
}

// Telemetry holds the providers of one process.
type Telemetry struct {
	logger     *slog.Logger
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
	registry   *prometheus.Registry

	once  sync.Once
	stops []func(context.Context) error // in the order of starting
	err   error
}

// Setup starts logging, tracing and metrics. It reads the OTEL_* variables, and
// connects to nothing before there is something to send. An error names a
// variable or field that cannot be used.
func Setup(ctx context.Context, cfg Config) (*Telemetry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring telemetry: %w", err)
	}
	if cfg.Output == nil {
		cfg.Output = os.Stderr
	}
	t := &Telemetry{logger: slog.New(newHandler(cfg)), registry: prometheus.NewRegistry()}
	otel.SetErrorHandler(errorHandler(t.logger))
	t.propagator = autoprop.NewTextMapPropagator()
	res, err := newResource(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(t.startTraces(ctx, res, cfg.Spans), t.startMetrics(ctx, res)); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// Logger writes the log lines.
func (t *Telemetry) Logger() *slog.Logger { return t.logger }

// TracerProvider makes the tracers.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.tracers }

// MeterProvider makes the meters.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// Propagator reads and writes trace context as OTEL_PROPAGATORS says; W3C trace
// context and baggage by default.
func (t *Telemetry) Propagator() propagation.TextMapPropagator { return t.propagator }

// Registry holds the metrics that Prometheus fetches.
func (t *Telemetry) Registry() *prometheus.Registry { return t.registry }

// MetricsHandler serves the Registry in Prometheus's formats.
func (t *Telemetry) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		ErrorLog:          slog.NewLogLogger(t.logger.Handler(), slog.LevelWarn),
	})
}

// Shutdown sends what is still to be sent and stops. It takes ShutdownTimeout at
// most and gives the same error however often it is called.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, ShutdownTimeout)
		defer cancel()
		var errs []error
		for _, stop := range slices.Backward(t.stops) {
			errs = append(errs, stop(ctx))
		}
		if err := errors.Join(errs...); err != nil {
			t.err = fmt.Errorf("stopping telemetry: %w", err)
		}
	})
	return t.err
}

// newResource describes the process; OTEL_RESOURCE_ATTRIBUTES and
// OTEL_SERVICE_NAME have the last word.
func newResource(ctx context.Context, cfg Config) (*resource.Resource, error) {
	attributes := resource.WithAttributes(semconv.ServiceName(cfg.Service))
	options := []resource.Option{resource.WithTelemetrySDK(), resource.WithHost(), attributes}
	if cfg.Version != "" {
		options = append(options, resource.WithAttributes(semconv.ServiceVersion(cfg.Version)))
	}
	if cfg.Instance != "" {
		options = append(options, resource.WithAttributes(semconv.ServiceInstanceID(cfg.Instance)))
	}
	res, err := resource.New(ctx, append(options, resource.WithFromEnv())...)
	switch {
	case errors.Is(err, resource.ErrPartialResource):
		otel.Handle(err)
	case err != nil:
		return nil, fmt.Errorf("describing the process: %w", err)
	}
	return res, nil
}

// errorHandler logs what the SDK and its exporters complain of: the first few
// at once, then one every ten seconds, since a collector that is away fails
// every batch.
func errorHandler(logger *slog.Logger) otel.ErrorHandler {
	sometimes := rate.Sometimes{First: 3, Interval: 10 * time.Second}
	return otel.ErrorHandlerFunc(func(err error) {
		sometimes.Do(func() { logger.Warn("telemetry", slog.Any("error", err)) })
	})
}
