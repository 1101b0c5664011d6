package inbound_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/bridge/inbound"
)

// traced returns a session with a prompt store whose spans are recorded.
func traced(t *testing.T, sampler sdktrace.Sampler) (*inbound.Session, *tracetest.SpanRecorder, *[]*bridge.Record) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	records := new([]*bridge.Record)
	cfg := config(t, prompt(records))
	cfg.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(recorder))
	return newSession(t, cfg), recorder, records
}

func attributes(span sdktrace.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range span.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

const (
	other      = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	otherTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
)

func TestSpanOfAMessage(t *testing.T) {
	s, recorder, records := traced(t, sdktrace.ParentBased(sdktrace.AlwaysSample()))
	receive(t, s, &bridge.Inbound{Kind: bridge.KindMessage, Data: []byte(message), TraceParent: parent})
	span := recorder.Ended()[0]
	if span.Name() != "send wa.recv.{session}" || span.SpanKind() != trace.SpanKindProducer {
		t.Errorf("got %s span %q", span.SpanKind(), span.Name())
	}
	if span.SpanContext().TraceID().String() != traceID || span.Parent().SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("got %v with parent %v, want a child of the platform's span", span.SpanContext(), span.Parent())
	}
	want := "00-" + traceID + "-" + span.SpanContext().SpanID().String() + "-01"
	check(t, (*records)[0], map[string]string{"traceparent": want})
	got := attributes(span)
	for key, value := range map[string]string{
		"messaging.system": "nats", "messaging.operation.name": "send", "messaging.operation.type": "send",
		"messaging.destination.name": "wa.recv.shop", "messaging.destination.template": "wa.recv.{session}",
		"wabridge.session": "shop", "wabridge.result": "stored", "error.type": "",
	} {
		if got[key] != value {
			t.Errorf("attribute %s: got %q, want %q", key, got[key], value)
		}
	}
}

func TestSpanOfAStatusLinksToItsCommand(t *testing.T) {
	s, recorder, records := traced(t, sdktrace.ParentBased(sdktrace.AlwaysSample()))
	receive(t, s, &bridge.Inbound{Kind: bridge.KindStatus, Data: ours(t, "order-1", "")})
	receive(t, s, &bridge.Inbound{Kind: bridge.KindStatus, Data: ours(t, "order-1", ""), TraceParent: other})
	receive(t, s, &bridge.Inbound{Kind: bridge.KindStatus, Data: []byte(statusOf), TraceParent: other})
	spans := recorder.Ended()
	for i, want := range []struct {
		trace string
		links int
		ref   string
	}{{traceID, 1, "order-1"}, {otherTrace, 1, "order-1"}, {otherTrace, 0, ""}} {
		span := spans[i]
		if got := span.SpanContext().TraceID().String(); got != want.trace {
			t.Errorf("status %d: got trace %s, want %s", i, got, want.trace)
		}
		if !strings.Contains((*records)[i].Header["traceparent"][0], want.trace) {
			t.Errorf("status %d: got traceparent %s", i, (*records)[i].Header["traceparent"])
		}
		if len(span.Links()) != want.links || want.links == 1 && span.Links()[0].SpanContext.TraceID().String() != traceID {
			t.Errorf("status %d: got links %v, want %d to the command", i, span.Links(), want.links)
		}
		if got := attributes(span)["wabridge.ref"]; got != want.ref {
			t.Errorf("status %d: got ref %q", i, got)
		}
	}
}

func TestWhatIsNotSampledGoesOn(t *testing.T) {
	s, recorder, records := traced(t, sdktrace.ParentBased(sdktrace.NeverSample()))
	unsampled := strings.TrimSuffix(parent, "01") + "00"
	receive(t, s, &bridge.Inbound{Kind: bridge.KindMessage, Data: []byte(message), TraceParent: unsampled})
	receive(t, s, &bridge.Inbound{Kind: bridge.KindMessage, Data: []byte(message)})
	if n := len(recorder.Ended()); n != 0 {
		t.Errorf("%d spans are recorded", n)
	}
	for i, want := range []string{traceID, "00-"} {
		if got := (*records)[i].Header["traceparent"]; len(got) != 1 || !strings.Contains(got[0], want) || !strings.HasSuffix(got[0], "-00") {
			t.Errorf("record %d: got traceparent %v", i, got)
		}
	}
}

func TestSpansOfFailures(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	answers := []error{bridge.ErrClosed, bridge.ErrTooLarge}
	cfg := config(t, putFunc(func(_ context.Context, r *bridge.Record) error {
		if len(answers) == 0 {
			return bridge.ErrClosed
		}
		r.Done(bridge.Stored{Err: answers[0]})
		answers = answers[1:]
		return nil
	}))
	cfg.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	s := newSession(t, cfg)
	for n := range 2 {
		receive(t, s, numbered("e1", n+1))
	}
	if err := s.Receive(t.Context(), numbered("e1", 3)); err == nil {
		t.Error("got no error from a closed store")
	}
	for i, want := range []string{"closed", "too_large", "refused"} {
		if got := attributes(recorder.Ended()[i])["error.type"]; got != want {
			t.Errorf("span %d: got error.type %q, want %q", i, got, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	names, err := bridge.NewNames("wa")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := inbound.NewMetrics(provider, names)
	if err != nil {
		t.Fatal(err)
	}
	var ages uint64
	count := func() map[string]int64 {
		var rm metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &rm); err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		var points []metricdata.DataPoint[int64]
		for _, m := range rm.ScopeMetrics[0].Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Histogram[float64]:
				ages = data.DataPoints[0].Count
			}
		}
		for _, p := range points {
			template, _ := p.Attributes.Value("messaging.destination.template")
			result, _ := p.Attributes.Value("result")
			got[template.AsString()+" "+result.AsString()] = p.Value
		}
		return got
	}
	before := count()
	if len(before) != 4*6 {
		t.Errorf("got %d label sets up front, want 24: %v", len(before), before)
	}
	store := new(memory)
	cfg := config(t, store)
	cfg.Metrics = metrics
	s := newSession(t, cfg)
	receive(t, s, numbered("e1", 1))
	receive(t, s, numbered("e1", 1))
	receive(t, s, &bridge.Inbound{Kind: bridge.KindPoison})
	store.answer(bridge.Stored{})
	store.answer(bridge.Stored{Duplicate: true})
	store.answer(bridge.Stored{})
	after := count()
	for key, want := range map[string]int64{
		"wa.recv.{session} stored": 1, "wa.recv.{session} duplicate": 1, "wa.dead.{session} stored": 1, "wa.status.{session} stored": 0,
	} {
		if after[key] != want {
			t.Errorf("%s: got %d, want %d", key, after[key], want)
		}
	}
	if ages != 1 {
		t.Errorf("the age of %d messages was recorded, want that of the one stored", ages)
	}
	if len(after) != len(before) {
		t.Errorf("labels grew from %d to %d", len(before), len(after))
	}
}

// TestNothingPrivateIsTold looks for numbers, wamids and text in logs, spans and
// errors.
func TestNothingPrivateIsTold(t *testing.T) {
	var log bytes.Buffer
	recorder := tracetest.NewSpanRecorder()
	answer := bridge.Stored{Sequence: 1}
	cfg := config(t, putFunc(func(_ context.Context, r *bridge.Record) error { r.Done(answer); return nil }))
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	s := newSession(t, cfg)
	for _, data := range []string{
		message, statusOf, message[:len(message)-1], `{"message":{"from":"15550142233","text":{"body":"thanks"}}}`,
		`{"message":"15550142233 thanks"}`, `{"field":7,"value":"15550142233"}`, "15550142233 thanks " + wamid,
	} {
		for kind := range bridge.KindPoison + 2 {
			for _, answer = range []bridge.Stored{{Sequence: 1}, {Err: bridge.ErrTooLarge}} {
				if err := s.Receive(t.Context(), &bridge.Inbound{Kind: kind, Data: []byte(data)}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	told := log.String()
	for _, span := range recorder.Ended() {
		told += fmt.Sprint(span.Name(), attributes(span), span.Status(), span.Events())
	}
	if !strings.Contains(told, "dead letter") || !strings.Contains(told, "max_payload") {
		t.Errorf("the log lacks what it is for:\n%s", log.String())
	}
	for _, private := range []string{"15550142233", "thanks", "Marta", "wamid", "HBgLMTU1NTAxNDIyMzMVAgASGBQ"} {
		if strings.Contains(told, private) {
			t.Errorf("%q is told", private)
		}
	}
}
