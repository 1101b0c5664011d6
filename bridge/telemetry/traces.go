package telemetry

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// startTraces sets the TracerProvider. The SDK reads the sampler from
// OTEL_TRACES_SAMPLER (parentbased_always_on by default) and the batches' sizes
// from OTEL_BSP_*. Without anyone to take spans it makes none.
func (t *Telemetry) startTraces(ctx context.Context, res *resource.Resource, spans sdktrace.SpanProcessor) error {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	if spans != nil {
		options = append(options, sdktrace.WithSpanProcessor(spans))
	}
	if exports("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") {
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return fmt.Errorf("making the span exporter: %w", err)
		}
		if !autoexport.IsNoneSpanExporter(exporter) {
			options = append(options, sdktrace.WithBatcher(exporter))
		}
	}
	if len(options) == 1 && os.Getenv("OTEL_TRACES_SAMPLER") == "" {
		t.tracers = relay{}
		return nil
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.tracers = provider
	t.stops = append(t.stops, provider.Shutdown)
	return nil
}

// exports reports whether one of the named variables asks for an export. The
// SDK's own default, without any, would be to send to localhost.
func exports(names ...string) bool {
	return !strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") &&
		slices.ContainsFunc(names, func(name string) bool { return os.Getenv(name) != "" })
}

// relay is the TracerProvider of a process whose spans nobody wants: it passes
// the trace context of others on as it is, so that their traces stay whole, and
// begins one where there is none, so that who comes after has one to join.
type relay struct{ noop.TracerProvider }

// Tracer implements trace.TracerProvider.
func (relay) Tracer(string, ...trace.TracerOption) trace.Tracer { return relayTracer{} }

type relayTracer struct{ noop.Tracer }

// Start implements trace.Tracer.
func (relayTracer) Start(ctx context.Context, _ string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	sc := trace.SpanContextFromContext(ctx)
	if cfg := trace.NewSpanStartConfig(options...); cfg.NewRoot() || !sc.IsValid() {
		var ids struct {
			trace [16]byte
			span  [8]byte
		}
		// crypto/rand does not fail.
		_, _ = rand.Read(ids.trace[:])
		_, _ = rand.Read(ids.span[:])
		sc = trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: ids.trace, SpanID: ids.span, TraceFlags: trace.FlagsSampled,
		})
	}
	span := relaySpan{sc: sc}
	return trace.ContextWithSpan(ctx, span), span
}

// relaySpan records nothing.
type relaySpan struct {
	noop.Span
	sc trace.SpanContext
}

// SpanContext implements trace.Span.
func (s relaySpan) SpanContext() trace.SpanContext { return s.sc }

// TracerProvider implements trace.Span.
func (relaySpan) TracerProvider() trace.TracerProvider { return relay{} }
