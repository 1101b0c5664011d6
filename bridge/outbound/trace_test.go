package outbound

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

const producer = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestOneTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	var sent []bridge.Outgoing
	run(t, func(w *world) {
		w.configure = func(c *Config) {
			c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		}
		w.platform.answer = func(out *bridge.Outgoing, nth int) answer {
			sent = append(sent, *out)
			if nth == 1 {
				return accept()
			}
			return answer{result: bridge.Result{Class: codec.Permanent, Error: &codec.Error{Code: 131026, Title: "secret title"}}}
		}
	}, func(w *world) {
		header := map[string][]string{"Traceparent": {producer}, "tracestate": {"vendor=1"}}
		w.publishWith("15550142233", header)
		w.publishWith("15550142233", map[string][]string{"traceparent": {producer}})
		w.deliverAll()
		synctest.Wait()
		ended := spans.Ended()
		if len(ended) != 2 {
			t.Fatalf("%d spans", len(ended))
		}
		for i, span := range ended {
			if span.Name() != "process wa.send.{session}" || span.SpanKind() != trace.SpanKindConsumer ||
				span.Parent().SpanID().String() != "00f067aa0ba902b7" {
				t.Errorf("span %q, kind %v, parent %v", span.Name(), span.SpanKind(), span.Parent().SpanID())
			}
			context := formatTraceparent(span.SpanContext())
			record := w.records[w.ids["shop:"+[]string{"1", "2"}[i]+":outcome"]-1]
			if got := record.Header["traceparent"]; len(got) != 1 || got[0] != context {
				t.Errorf("outcome carries %v, want %s", got, context)
			}
			if sent[i].TraceParent != context {
				t.Errorf("send carries %s, want %s", sent[i].TraceParent, context)
			}
			if !strings.Contains(string(sent[i].Body), `"wab1;`+context+";") {
				t.Errorf("the callback in %s does not carry %s", sent[i].Body, context)
			}
			for _, kv := range span.Attributes() {
				if strings.Contains(kv.Value.String(), "15550142233") || strings.Contains(kv.Value.String(), "wamid") {
					t.Errorf("attribute %s tells a number", kv.Key)
				}
			}
		}
		if got := ended[0].SpanContext().TraceState().String(); got != "vendor=1" {
			t.Errorf("trace state %q", got)
		}
		if got := ended[0].Status().Code; got != codes.Unset {
			t.Errorf("status of the accepted is %v", got)
		}
		if got := ended[1].Status(); got.Code != codes.Error || strings.Contains(got.Description, "secret") {
			t.Errorf("status of the rejected is %+v", got)
		}
		if !hasAttribute(ended[1].Attributes(), "error.type", "permanent") {
			t.Errorf("attributes %v", ended[1].Attributes())
		}
	})
}

func hasAttribute(list []attribute.KeyValue, key, value string) bool {
	for _, kv := range list {
		if string(kv.Key) == key && kv.Value.String() == value {
			return true
		}
	}
	return false
}

func TestWithoutTracerThePublishersContextIsPassedOn(t *testing.T) {
	run(t, nil, func(w *world) {
		w.publishWith("15550142233", map[string][]string{"traceparent": {producer}})
		w.deliverAll()
		synctest.Wait()
		if got := w.records[0].Header["traceparent"]; len(got) != 1 || got[0] != producer {
			t.Errorf("outcome carries %v", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	run(t, func(w *world) {
		metrics, err := NewMetrics(metric.NewMeterProvider(metric.WithReader(reader)), w.names)
		if err != nil {
			t.Fatal(err)
		}
		w.configure = func(c *Config) { c.Metrics = metrics }
	}, func(w *world) {
		w.publish("15550142233", 2)
		w.publishRaw("not json", nil)
		w.deliverAll()
		synctest.Wait()
		w.platform.setWindow(0)
		w.publish("15550142233", 4)
		w.deliverAll()
		var got metricdata.ResourceMetrics
		ctx, cancel := contextWithTimeout(1 << 40)
		defer cancel()
		if err := reader.Collect(ctx, &got); err != nil {
			t.Fatal(err)
		}
		values := map[string]int64{}
		for _, sm := range got.ScopeMetrics {
			for _, m := range sm.Metrics {
				switch data := m.Data.(type) {
				case metricdata.Sum[int64]:
					for _, p := range data.DataPoints {
						values[m.Name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
					}
				case metricdata.Gauge[int64]:
					for _, p := range data.DataPoints {
						values[m.Name] = p.Value
					}
				case metricdata.Histogram[float64]:
					for _, p := range data.DataPoints {
						values[m.Name] += int64(p.Count)
					}
				}
			}
		}
		for name, want := range map[string]int64{
			"wabridge.outbound.outcomes class=accepted,outcome=accepted": 2,
			"wabridge.outbound.outcomes class=invalid,outcome=rejected":  1,
			"wabridge.outbound.outcomes class=expired,outcome=expired":   0,
			"wabridge.outbound.answers class=accepted":                   2,
			"wabridge.outbound.held":                                     4,
			"wabridge.outbound.inflight":                                 0,
			"messaging.process.duration":                                 3,
			"messaging.client.consumed.messages messaging.destination.template=wa.send.{session},messaging.operation.name=process,messaging.system=nats": 7,
		} {
			if have, ok := values[name]; !ok || have != want {
				t.Errorf("%s is %d (there: %v), want %d", name, have, ok, want)
			}
		}
	})
}

// TestStalled: a session that holds commands and gets no answers is stalled; one
// that gets any, or holds nothing, is not.
func TestStalled(t *testing.T) {
	slow := func(after time.Duration) func(*world) {
		return func(w *world) {
			w.platform.answer = func(*bridge.Outgoing, int) answer {
				a := accept()
				a.after = after
				return a
			}
		}
	}
	const limit = time.Minute
	run(t, slow(2*limit), func(w *world) {
		stalled := func() bool { return w.session.Stalled(time.Now(), limit) }
		if stalled() {
			t.Error("it is stalled without a command")
		}
		w.publish("15550142233", 1)
		w.deliverAll()
		w.sweep(limit / 2)
		if stalled() {
			t.Error("it is stalled before the limit")
		}
		w.sweep(limit)
		if !stalled() {
			t.Error("it is not stalled without an answer")
		}
		w.sweep(limit)
		if stalled() {
			t.Error("it is stalled after the answer")
		}
	})
	run(t, slow(limit/2), func(w *world) {
		w.publish("15550142233", 4) // one after the other
		w.deliverAll()
		w.sweep(limit + limit/4)
		if w.session.Stalled(time.Now(), limit) {
			t.Error("it is stalled though answers come")
		}
		w.sweep(2 * limit)
	})
}
