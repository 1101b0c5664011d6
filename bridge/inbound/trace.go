package inbound

import (
	"context"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	scope     = "wabridge/bridge/inbound"
	operation = "send"
)

// startSpan starts the span of f and writes its trace context into the headers.
//
// Its parent is what the platform said in traceparent. A status of one of our
// commands links to the command's trace, which its callback data names; where
// the platform gave no trace context it is also the child of it, so that who
// follows the command's trace id finds the statuses in it.
func (f *flight) startSpan(ctx context.Context) {
	d := &f.session.env.streams[f.stream]
	ctx = extract(ctx, f.in.TraceParent, f.in.TraceState)
	options := f.session.env.producer
	if f.command != nil {
		origin := extract(ctx, f.command.callback.TraceParent, "")
		if sc := trace.SpanContextFromContext(origin); sc.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: sc}))
			if !trace.SpanContextFromContext(ctx).IsValid() {
				ctx = origin
			}
		}
	}
	ctx, f.span = f.session.env.tracer.Start(ctx, d.span, options...) //nolint:spancheck // endSpan ends it, when f ends
	propagation.TraceContext{}.Inject(ctx, carrier{f})
	if !f.span.IsRecording() {
		return
	}
	f.span.SetAttributes(
		attribute.String("messaging.system", system),
		semconv.MessagingOperationName(operation), semconv.MessagingOperationTypeSend,
		semconv.MessagingDestinationName(f.record.Subject), semconv.MessagingDestinationTemplate(d.template),
		semconv.MessagingMessageBodySize(len(f.record.Body)),
		attribute.String("wabridge.session", f.session.id),
	)
	if f.command != nil {
		f.span.SetAttributes(attribute.String("wabridge.ref", f.command.callback.Ref))
	}
}

// carrier writes trace context into the headers of a flight, which hold none
// yet.
type carrier struct{ *flight }

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(name string) string { return first(c.record.Header, name) }

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(name, value string) { c.set(name, value) }

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string { return slices.Collect(maps.Keys(c.record.Header)) }

// endSpan ends a span with what became of its record.
func endSpan(span trace.Span, r result) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("wabridge.result", r.String()))
		if e := r.errorType(); e != "" {
			span.SetAttributes(semconv.ErrorTypeKey.String(e))
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}

// extract returns ctx with the given W3C trace context, or ctx where that is
// none.
func extract(ctx context.Context, parent, state string) context.Context {
	if parent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, w3c{parent, state})
}

// w3c carries the two values that a CloudEvent has for trace context.
type w3c struct{ parent, state string }

// Get implements propagation.TextMapCarrier.
func (c w3c) Get(key string) string {
	switch key {
	case "traceparent":
		return c.parent
	case "tracestate":
		return c.state
	}
	return ""
}

// Set does nothing: the values are only read.
func (w3c) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (w3c) Keys() []string { return []string{"traceparent", "tracestate"} }
