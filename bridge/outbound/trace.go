package outbound

import (
	"context"
	"encoding/hex"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

const scope = "wabridge/bridge/outbound"

// parent is a trace context as it goes over a wire; empty where there is none.
type parent struct{ traceparent, tracestate string }

// Get makes parent a carrier to read from.
func (p parent) Get(key string) string {
	switch key {
	case "traceparent":
		return p.traceparent
	case "tracestate":
		return p.tracestate
	default:
		return ""
	}
}

// Set does nothing: a parent is only read.
func (p parent) Set(string, string) {}

// Keys lists what Get answers.
func (p parent) Keys() []string { return []string{"traceparent", "tracestate"} }

// tracer makes the consumer span of each command.
type tracer struct {
	trace.Tracer
	name    string
	options []trace.SpanStartOption
	// attributes are those of every span.
	attributes []attribute.KeyValue
}

func newTracer(provider trace.TracerProvider, names bridge.Names) *tracer {
	if provider == nil {
		return nil
	}
	template := names.Send("{session}")
	return &tracer{
		Tracer:  provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		name:    "process " + template,
		options: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)},
		attributes: []attribute.KeyValue{
			semconv.MessagingSystemKey.String("nats"),
			semconv.MessagingOperationName("process"),
			semconv.MessagingOperationTypeProcess,
			semconv.MessagingDestinationTemplate(template),
		},
	}
}

// startSpan begins the command's span as the child of its publisher's.
func (s *Session) startSpan(c *command) {
	c.parent = parent{c.TraceParent, c.TraceState}
	t := s.cfg.tracer
	if t == nil {
		return
	}
	ctx := context.Background()
	if c.parent.traceparent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, c.parent)
	}
	_, c.span = t.Start(ctx, t.name, t.options...) //nolint:spancheck // it ends with the command, in endSpan or shed
	if sc := c.span.SpanContext(); sc.IsValid() {
		c.parent = parent{formatTraceparent(sc), sc.TraceState().String()}
	}
	if c.span.IsRecording() { // the others need not pay for attributes
		c.span.SetAttributes(t.attributes...)
		c.span.SetAttributes(
			semconv.MessagingDestinationName(s.cfg.Names.Send(c.session)),
			semconv.MessagingMessageID(c.ref),
			semconv.MessagingMessageBodySize(len(c.body)),
			attribute.Int64("wabridge.sequence", int64(c.sequence)),
			attribute.String("wabridge.type", c.Type),
		)
	}
}

func endSpan(c *command) {
	if c.span == nil {
		return
	}
	if c.span.IsRecording() {
		c.span.SetAttributes(
			attribute.String("wabridge.outcome", c.outcome.word),
			attribute.Int("wabridge.attempts", c.attempts),
			attribute.Float64("wabridge.held_seconds", time.Since(c.taken).Seconds()),
		)
		if c.outcome.word != codec.StatusAccepted {
			c.span.SetAttributes(semconv.ErrorTypeKey.String(c.outcome.class.String()))
			c.span.SetStatus(codes.Error, c.outcome.verdict())
		}
	}
	c.span.End()
}

// formatTraceparent writes version 00 of the W3C's header.
func formatTraceparent(sc trace.SpanContext) string {
	var b [55]byte
	traceID, spanID := sc.TraceID(), sc.SpanID()
	copy(b[:], "00-")
	hex.Encode(b[3:35], traceID[:])
	b[35] = '-'
	hex.Encode(b[36:52], spanID[:])
	copy(b[52:], "-00")
	if sc.IsSampled() {
		b[54] = '1'
	}
	return string(b[:])
}
