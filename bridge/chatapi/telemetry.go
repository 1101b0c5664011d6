package chatapi

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

// scope names this package to OpenTelemetry.
const scope = "wabridge/bridge/chatapi"

// frameKind is what a frame was; a closed set.
type frameKind uint8

const (
	frameMessage frameKind = iota
	frameStatus
	frameEvent
	frameResult
	frameReady
	framePoison
	frameSend
	frameAck
	frameToken
	frameKinds
)

// String is the value of the metric's label.
func (k frameKind) String() string {
	return [frameKinds]string{"message", "status", "event", "result", "ready", "poison", "send", "ack", "token"}[k]
}

// stripes is how many sets of counts the links of a process share: with one for
// all, cores would wait for each other; with one for each, idle links would cost
// more.
const stripes = 16

// counts is what links count. The metrics read it when they are collected: adding
// to a metric for each frame would cost as much as reading one, and take a lock
// that all sessions share.
type counts struct {
	in, out               [frameKinds]atomic.Uint64
	repeated, gaps, stray atomic.Uint64
	_                     [24]byte // the next one lies on other cache lines
}

// Metrics are the instruments of all Chat API sessions of a process.
type Metrics struct {
	ends, renewals metric.Int64Counter
	duration       metric.Float64Histogram
	accepted       []metric.RecordOption // labels of nearly every duration

	frames, oddities metric.Int64ObservableCounter
	stripes          [stripes]counts
	links            atomic.Uint32 // that have asked for counts
}

// NewMetrics makes the instruments, with every label value from the start. It
// is called once for all sessions of a process.
func NewMetrics(provider metric.MeterProvider) (*Metrics, error) {
	meter := provider.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	var m Metrics
	for _, c := range []struct {
		counter     *metric.Int64Counter
		name, about string
	}{
		{&m.ends, "wabridge.chatapi.disconnects", "Connections that ended or failed, by cause."},
		{&m.renewals, "wabridge.chatapi.token.renewals", "Tokens renewed on a live connection."},
	} {
		counter, err := meter.Int64Counter(c.name, metric.WithDescription(c.about))
		if err != nil {
			return nil, fmt.Errorf("making metric %s: %w", c.name, err)
		}
		*c.counter = counter
	}
	for _, c := range []struct {
		counter     *metric.Int64ObservableCounter
		name, about string
	}{
		{&m.frames, "wabridge.chatapi.frames", "Frames by direction and kind."},
		{&m.oddities, "wabridge.chatapi.oddities", "Events sent again, gaps that stayed, answers to nothing."},
	} {
		counter, err := meter.Int64ObservableCounter(c.name, metric.WithDescription(c.about))
		if err != nil {
			return nil, fmt.Errorf("making metric %s: %w", c.name, err)
		}
		*c.counter = counter
	}
	if _, err := meter.RegisterCallback(m.observe, m.frames, m.oddities); err != nil {
		return nil, fmt.Errorf("making metrics of frames: %w", err)
	}
	const name = "messaging.client.operation.duration"
	duration, err := meter.Float64Histogram(name, metric.WithUnit("s"),
		metric.WithDescription("From the bridge's taking a send to the platform's answer."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10))
	if err != nil {
		return nil, fmt.Errorf("making metric %s: %w", name, err)
	}
	m.duration, m.accepted = duration, labels(codec.Accepted)
	m.begin()
	return &m, nil
}

// begin makes every label value: what never happened is 0, not missing.
func (m *Metrics) begin() {
	ctx := context.Background()
	for _, c := range causes() {
		m.ends.Add(ctx, 0, metric.WithAttributes(attribute.String("cause", string(c))))
	}
	for _, result := range []string{"renewed", "failed"} {
		m.renewals.Add(ctx, 0, metric.WithAttributes(attribute.String("result", result)))
	}
}

// counts is where one more link counts.
func (m *Metrics) counts() *counts { return &m.stripes[m.links.Add(1)%stripes] }

// observe tells what all links have counted.
func (m *Metrics) observe(_ context.Context, o metric.Observer) error {
	tell := func(to metric.Int64ObservableCounter, of func(c *counts) *atomic.Uint64, labels ...attribute.KeyValue) {
		var sum uint64
		for i := range m.stripes {
			sum += of(&m.stripes[i]).Load()
		}
		o.ObserveInt64(to, int64(sum), metric.WithAttributes(labels...))
	}
	for kind := range frameKinds {
		tell(m.frames, func(c *counts) *atomic.Uint64 { return &c.in[kind] }, attribute.String("direction", "in"), attribute.Stringer("kind", kind))
		tell(m.frames, func(c *counts) *atomic.Uint64 { return &c.out[kind] }, attribute.String("direction", "out"), attribute.Stringer("kind", kind))
	}
	tell(m.oddities, func(c *counts) *atomic.Uint64 { return &c.repeated }, attribute.String("kind", "repeated"))
	tell(m.oddities, func(c *counts) *atomic.Uint64 { return &c.gaps }, attribute.String("kind", "gap"))
	tell(m.oddities, func(c *counts) *atomic.Uint64 { return &c.stray }, attribute.String("kind", "stray_result"))
	return nil
}

// ended counts the end of a connection, or of the attempt to make one.
func (m *Metrics) ended(ctx context.Context, c cause) {
	m.ends.Add(ctx, 1, metric.WithAttributes(attribute.String("cause", string(c))))
}

// renewal counts a token that was renewed, or not.
func (m *Metrics) renewal(ctx context.Context, ok bool) {
	result := "failed"
	if ok {
		result = "renewed"
	}
	m.renewals.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}

// attribute names the session to a span.
func (s *Session) attribute() attribute.KeyValue {
	return attribute.String("wabridge.session", s.id())
}

// finish ends a send that was taken out of the table.
func (l *link) finish(ctx context.Context, s *send, result bridge.Result) {
	options := l.env.Metrics.accepted
	if result.Class != codec.Accepted {
		options = labels(result.Class)
	}
	l.env.Metrics.duration.Record(ctx, time.Since(s.taken).Seconds(), options...)
	endSpan(s.span, result.Class)
	s.out.Done(result)
}

// labels are those of a send's duration.
func labels(class codec.Class) []metric.RecordOption {
	set := []attribute.KeyValue{semconv.MessagingSystemKey.String("whatsapp"), semconv.MessagingOperationName("send")}
	if class != codec.Accepted {
		set = append(set, semconv.ErrorTypeKey.String(class.String()))
	}
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(set...))}
}

// traceOf gives the trace context that came with a send, or none where that is
// malformed, and whether its trace is recorded.
func traceOf(out *bridge.Outgoing) (parent, state string, sampled bool) {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	p := out.TraceParent
	if len(p) != length || p[:3] != "00-" || p[35] != '-' || p[52] != '-' {
		return "", "", false
	}
	for i := range length {
		c := p[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-' {
			return "", "", false
		}
	}
	if strings.Trim(p[3:35], "0") == "" || strings.Trim(p[36:52], "0") == "" || strings.Count(p, "-") != 3 {
		return "", "", false
	}
	// The lowest bit of the flags: of the last digit, a letter's code is odd
	// where its value is even.
	last := p[length-1]
	return p, out.TraceState, (last&1 == 1) == (last <= '9')
}

// startSpan starts the span of a send, where its trace is recorded, as the
// child of what came with it, and returns the trace context that goes on.
func (l *link) startSpan(ctx context.Context, out *bridge.Outgoing) (trace.Span, string, string) {
	parent, state, sampled := traceOf(out)
	if !sampled {
		return nil, parent, state
	}
	carrier := propagation.MapCarrier{"traceparent": parent, "tracestate": state}
	ctx = propagation.TraceContext{}.Extract(ctx, carrier)
	ctx, span := l.env.tracer.Start(ctx, "send whatsapp", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes( //nolint:spancheck // it ends with the send
		semconv.MessagingSystemKey.String("whatsapp"), semconv.MessagingOperationName("send"),
		semconv.MessagingOperationTypeSend, semconv.MessagingMessageID(out.Ref), l.attribute(),
	))
	propagation.TraceContext{}.Inject(ctx, carrier)
	return span, carrier["traceparent"], carrier["tracestate"] //nolint:spancheck // as above
}

// endSpan ends the span of a send; nil has none.
func endSpan(span trace.Span, class codec.Class) {
	if span == nil {
		return
	}
	if class != codec.Accepted {
		span.SetAttributes(semconv.ErrorTypeKey.String(class.String()))
		span.SetStatus(codes.Error, class.String())
	}
	span.End()
}
