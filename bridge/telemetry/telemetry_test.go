package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"wabridge/bridge/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clean clears the variables that a developer's shell may hold.
func clean(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_SAMPLER",
		"OTEL_TRACES_SAMPLER_ARG", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
		"OTEL_PROPAGATORS", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
	} {
		t.Setenv(name, "")
	}
}

// output collects log lines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func setup(t *testing.T, cfg telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	cfg.Service = "wabridge"
	tel, err := telemetry.Setup(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tel
}

// receiver is an OTLP/HTTP collector for traces.
type receiver struct {
	mu       sync.Mutex
	requests []*collector.ExportTraceServiceRequest
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var got collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &got)
	}
	if err != nil || req.URL.Path != "/v1/traces" {
		http.Error(w, "not an export of traces", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, &got)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func TestSpansReachAReceiver(t *testing.T) {
	clean(t)
	var r receiver
	server := httptest.NewServer(&r)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	var out output
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{
		Service: "wabridge", Version: "1.2.3", Instance: "replica-0", Output: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "send wa.recv.{session}")
	if !span.IsRecording() {
		t.Error("the span is not recorded")
	}
	want := trace.SpanContextFromContext(ctx)
	span.End()
	for range 2 { // it can be called again
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.requests) != 1 {
		t.Fatalf("got %d exports, want 1", len(r.requests))
	}
	rs := r.requests[0].ResourceSpans[0]
	got := rs.ScopeSpans[0].Spans[0]
	if got.Name != "send wa.recv.{session}" || trace.TraceID(got.TraceId) != want.TraceID() || trace.SpanID(got.SpanId) != want.SpanID() {
		t.Errorf("got span %v, want %v", got, want)
	}
	attributes := map[string]string{}
	for _, a := range rs.Resource.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	for key, value := range map[string]string{
		"service.name": "wabridge", "service.version": "1.2.3", "service.instance.id": "replica-0",
		"deployment.environment.name": "test", "telemetry.sdk.language": "go",
	} {
		if attributes[key] != value {
			t.Errorf("resource attribute %s: got %q, want %q", key, attributes[key], value)
		}
	}
	if out.String() != "" {
		t.Errorf("it complained: %s", out.String())
	}
}

func TestSamplerFromEnvironment(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	tel := setup(t, telemetry.Config{})
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "x")
	defer span.End()
	if sc := span.SpanContext(); sc.IsSampled() || !sc.IsValid() {
		t.Errorf("got %v, want a valid context that is not sampled", sc)
	}
}

func TestNothingSetIsSilent(t *testing.T) {
	clean(t)
	var out output
	tel := setup(t, telemetry.Config{Output: &out, LogLevel: slog.LevelDebug})
	tracer := tel.TracerProvider().Tracer("test")
	tc := propagation.TraceContext{}

	t.Run("a trace is passed on as it is", func(t *testing.T) {
		in := propagation.MapCarrier{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "tracestate": "a=b"}
		ctx, span := tracer.Start(tc.Extract(t.Context(), in), "x")
		defer span.End()
		if span.IsRecording() {
			t.Error("it records spans that nobody takes")
		}
		back := propagation.MapCarrier{}
		tc.Inject(ctx, back)
		for key, want := range in {
			if back[key] != want {
				t.Errorf("%s: got %q, want %q", key, back[key], want)
			}
		}
	})
	t.Run("a trace is begun", func(t *testing.T) {
		ctx, span := tracer.Start(t.Context(), "x")
		defer span.End()
		if sc := span.SpanContext(); !sc.IsValid() || !sc.IsSampled() {
			t.Errorf("got %v, want a sampled context", sc)
		}
		_, child := tracer.Start(ctx, "y")
		defer child.End()
		if child.SpanContext().TraceID() != span.SpanContext().TraceID() {
			t.Error("the child has another trace id")
		}
		_, other := tracer.Start(ctx, "z", trace.WithNewRoot())
		defer other.End()
		if other.SpanContext().TraceID() == span.SpanContext().TraceID() {
			t.Error("the new root has the old trace id")
		}
	})
	if out.String() != "" {
		t.Errorf("it complained: %s", out.String())
	}
}

func TestMetricsHandler(t *testing.T) {
	clean(t)
	tel := setup(t, telemetry.Config{Version: "1.2.3"})
	counter, err := tel.MeterProvider().Meter("test").Int64Counter("wabridge.things")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	body := w.Body.String()
	for _, want := range []string{
		`wabridge_things_total{`, `service_version="1.2.3"`, "go_goroutine_count", "process_resident_memory_bytes",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	families, err := tel.Registry().Gather()
	if err != nil || len(families) == 0 {
		t.Errorf("gathering: %d families, %v", len(families), err)
	}
}

func TestLogLines(t *testing.T) {
	clean(t)
	var out output
	tel := setup(t, telemetry.Config{Output: &out, LogFormat: telemetry.FormatJSON})
	ctx, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "x")
	defer span.End()
	logger := tel.Logger().With(slog.String("session", "shop"))
	logger.InfoContext(ctx, "in a span")
	logger.Info("without one")
	logger.Debug("below the level")
	var lines []map[string]any
	for dec := json.NewDecoder(strings.NewReader(out.String())); ; {
		var line map[string]any
		err := dec.Decode(&line)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want 2: %s", len(lines), out.String())
	}
	sc := span.SpanContext()
	if l := lines[0]; l["trace_id"] != sc.TraceID().String() || l["span_id"] != sc.SpanID().String() || l["session"] != "shop" {
		t.Errorf("got %v, want the ids of %v", l, sc)
	}
	if _, there := lines[1]["trace_id"]; there {
		t.Errorf("got %v, want no trace id", lines[1])
	}
}

func TestTextIsTheDefaultFormat(t *testing.T) {
	clean(t)
	var out output
	setup(t, telemetry.Config{Output: &out}).Logger().Info("hello", slog.Int("n", 1))
	if !strings.Contains(out.String(), "msg=hello n=1") {
		t.Errorf("got %q", out.String())
	}
}

func TestErrorsOfTheSDKAreLoggedSparingly(t *testing.T) {
	clean(t)
	var out output
	setup(t, telemetry.Config{Output: &out})
	for range 100 {
		otel.Handle(errors.New("the collector is away"))
	}
	if n := strings.Count(out.String(), "the collector is away"); n < 1 || n > 10 {
		t.Errorf("got %d lines of 100 errors", n)
	}
}

func TestPropagatorFromEnvironment(t *testing.T) {
	clean(t)
	if got := setup(t, telemetry.Config{}).Propagator().Fields(); !strings.Contains(strings.Join(got, " "), "traceparent") {
		t.Errorf("got fields %v, want traceparent", got)
	}
	t.Setenv("OTEL_PROPAGATORS", "b3")
	if got := setup(t, telemetry.Config{}).Propagator().Fields(); strings.Contains(strings.Join(got, " "), "traceparent") {
		t.Errorf("got fields %v, want b3's", got)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	clean(t)
	_, err := telemetry.Setup(t.Context(), telemetry.Config{LogFormat: "xml"})
	if err == nil || !strings.Contains(err.Error(), "service name") || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("got %v, want both faults", err)
	}
	for _, name := range []string{"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "carrier-pigeon")
			if tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "x"}); err == nil {
				t.Errorf("got no error and %v", tel)
			}
		})
	}
}

func TestDisabled(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_SDK_DISABLED", "true")
	t.Setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")
	tel := setup(t, telemetry.Config{})
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "x")
	defer span.End()
	if span.IsRecording() {
		t.Error("it records although it is disabled")
	}
}

func TestShutdownIsBounded(t *testing.T) {
	clean(t)
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	tel, err := telemetry.Setup(t.Context(), telemetry.Config{Service: "x", Output: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "x")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tel.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the time was up", err)
	}
}

func TestSpansGoToAProcessor(t *testing.T) {
	clean(t)
	spans := tracetest.NewSpanRecorder()
	tel := setup(t, telemetry.Config{Spans: spans})
	_, span := tel.TracerProvider().Tracer("test").Start(t.Context(), "x")
	span.End()
	if ended := spans.Ended(); len(ended) != 1 || ended[0].Name() != "x" {
		t.Errorf("got %v, want the one span", ended)
	}
}
