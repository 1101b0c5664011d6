package stack

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"wabridge/bridge/bridgetest"
)

// receiver is an OTLP/HTTP collector that keeps the spans it is sent.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracev1.Span
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &export) != nil {
			http.Error(w, "not an export request", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, resource := range export.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// named waits for a span of a trace by the beginning of its name.
func (r *receiver) named(t *testing.T, trace, name string) *tracev1.Span {
	t.Helper()
	var found *tracev1.Span
	bridgetest.Eventually(t, patience, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, s := range r.spans {
			if hex.EncodeToString(s.TraceId) == trace && strings.HasPrefix(s.Name, name) {
				found = s
				return true
			}
		}
		return false
	}, "no span %q of trace %s", name, trace)
	return found
}

// One trace: the publisher's, the bridge's, the platform's and the consumer's
// parts share an id, and statuses that come later link to it.
func TestOneTrace(t *testing.T) {
	otlp := newReceiver(t)
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	s := New(t, Config{})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))

	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	m := nats.NewMsg(s.Names.Send(Demo))
	m.Header["traceparent"] = []string{"00-" + trace + "-" + span + "-01"}
	m.Header.Set(nats.MsgIdHdr, "traced-1")
	m.Data = []byte(`{"to":"+15550142233","text":"follow me"}`)
	s.PublishMsg(t, m)

	process := otlp.named(t, trace, "process ")
	if hex.EncodeToString(process.ParentSpanId) != span {
		t.Errorf("the bridge's span is a child of %x, want the publisher's %s", process.ParentSpanId, span)
	}
	if process.Kind != tracev1.Span_SPAN_KIND_CONSUMER {
		t.Errorf("the bridge's span is a %v, want a consumer", process.Kind)
	}
	for _, want := range []string{"accepted", "sent", "delivered", "read"} {
		status := statuses.Next(t)
		if got := status.Headers().Get("traceparent"); !strings.Contains(got, trace) {
			t.Errorf("the status %s carries traceparent %q, want trace %s", want, got, trace)
		}
	}
	phone, _ := s.Sim.Phone("15550142233")
	if len(phone.Messages) != 1 || !strings.Contains(phone.Messages[0].TraceParent, trace) {
		t.Errorf("the platform saw %+v, want a message with trace %s", phone.Messages, trace)
	}
	later := otlp.named(t, trace, "send wa.status.")
	linked := false
	for _, l := range later.Links {
		linked = linked || hex.EncodeToString(l.TraceId) == trace
	}
	if !linked {
		t.Errorf("the status's span %q has no link to the command's trace", later.Name)
	}

	// The answer of the user continues what the platform's event began.
	if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"got it"}`)); err != nil {
		t.Fatal(err)
	}
	answer := received.Next(t)
	if got := answer.Headers().Get("traceparent"); !strings.Contains(got, trace) {
		t.Errorf("the answer carries traceparent %q, want trace %s", got, trace)
	}
	otlp.named(t, trace, "send wa.recv.")

	otlp.mu.Lock()
	defer otlp.mu.Unlock()
	for _, s := range otlp.spans {
		for _, a := range s.Attributes {
			if v := a.Value.GetStringValue(); strings.Contains(v, "15550142233") || strings.Contains(v, "follow me") || strings.Contains(v, "wamid.") {
				t.Errorf("span %q attribute %s holds %q", s.Name, a.Key, v)
			}
		}
	}
}
