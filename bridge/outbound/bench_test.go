package outbound

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

// BenchmarkSession is the cost of a command in here: everything around it
// answers at once.
func BenchmarkSession(b *testing.B) {
	acks := make(chan struct{}, 64)
	s, err := New(Config{Env: benchEnv(b), Session: "shop", Store: storeFunc(stored)})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.SetPlatform(instant{}); err != nil {
		b.Fatal(err)
	}
	bodies := make([][]byte, 1000)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"to":"+1555%07d","type":"text","text":{"body":"%0440d"}}`, i, i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.Deliver(&bridge.Delivery{
			Session: "shop", Sequence: uint64(i + 1), Stored: time.Now(), Body: bodies[i%len(bodies)], Settler: acked(acks),
			Header: map[string][]string{
				"Nats-Msg-Id": {"bench"}, "traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"},
			},
		})
		if i%1024 == 0 {
			s.Prune(uint64(max(i-2048, 0)))
		}
		if i >= 64 {
			<-acks
		}
	}
	b.StopTimer()
	go func() {
		for range acks {
		}
	}()
	if err := s.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	close(acks)
}

// benchEnv measures, and traces one command of a hundred.
func benchEnv(b *testing.B) *Env {
	b.Helper()
	names, err := bridge.NewNames("wa")
	if err != nil {
		b.Fatal(err)
	}
	metrics, err := NewMetrics(metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())), names)
	if err != nil {
		b.Fatal(err)
	}
	return &Env{
		Names: names, Created: time.Unix(1, 0),
		Outcomes:       outcomesFunc(func(context.Context, uint64) (codec.Report, error) { return codec.Report{}, bridge.ErrNotFound }),
		Reader:         readerFunc(func(context.Context, string, uint64, int) ([]*bridge.Delivery, error) { return nil, nil }),
		Cursors:        &bucketRun{bucket: &bucket{values: map[string]bridge.Entry{}}},
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01)))),
		Metrics:        metrics,
	}
}

// stored is a store that has stored at once.
func stored(_ context.Context, r *bridge.Record) error {
	r.Done(bridge.Stored{Sequence: 1})
	return nil
}

type acked chan struct{}

func (a acked) Ack() error                  { a <- struct{}{}; return nil }
func (a acked) TermWithReason(string) error { panic("terminated") }
func (a acked) InProgress() error           { return nil }

type instant struct{}

func (instant) Start(func()) func() { return nil }
func (instant) Send(out *bridge.Outgoing) {
	out.Done(bridge.Result{Class: codec.Accepted, ID: "wamid.x"})
}
func (instant) Window() int      { return 1024 }
func (instant) Idempotent() bool { return true }
func (instant) Resume()          {}
