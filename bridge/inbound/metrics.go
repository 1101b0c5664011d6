package inbound

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"wabridge/bridge"
)

// system is the value of messaging.system: the conventions list none for NATS.
const system = "nats"

// result is how storing one thing ended.
type result uint8

const (
	stored    result = iota // JetStream took it
	duplicate               // JetStream had it, by its message id
	found                   // it was in WA_RECV already, known by a look there
	tooLarge                // it can never be stored
	closed                  // the store was closed before the answer
	refused                 // it was not taken; the platform keeps it
	results                 // how many there are
)

func (r result) String() string {
	return [results]string{"stored", "duplicate", "found", "too_large", "closed", "refused"}[r]
}

// errorType is the value of error.type, or empty.
func (r result) errorType() string {
	switch r {
	case tooLarge, closed, refused:
		return r.String()
	default:
		return ""
	}
}

func resultOf(st bridge.Stored) result {
	switch {
	case errors.Is(st.Err, bridge.ErrTooLarge):
		return tooLarge
	case st.Err != nil:
		return closed
	case st.Duplicate:
		return duplicate
	}
	return stored
}

// Metrics counts what all sessions receive. Its labels are the subjects'
// templates and the results: sessions are not among them. How long JetStream
// takes is measured by the store.
type Metrics struct {
	counts [streams][results]atomic.Int64
	lag    metric.Float64Histogram
}

// NewMetrics makes the instruments, wabridge.inbound.records and
// wabridge.inbound.lag, on mp.
func NewMetrics(mp metric.MeterProvider, names bridge.Names) (*Metrics, error) {
	m := new(Metrics)
	var labels [streams][results]metric.ObserveOption
	for st, d := range destinations(names) {
		for r := range results {
			labels[st][r] = metric.WithAttributeSet(attribute.NewSet(
				semconv.MessagingDestinationTemplate(d.template), attribute.String("result", r.String())))
		}
	}
	meter := mp.Meter(scope)
	var err error
	m.lag, err = meter.Float64Histogram("wabridge.inbound.lag", metric.WithUnit("s"),
		metric.WithDescription("From the time that a user's message bears, in whole seconds, to its being stored."),
		metric.WithExplicitBucketBoundaries(.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800, 7200, 86400))
	if err != nil {
		return nil, fmt.Errorf("making the inbound metrics: %w", err)
	}
	_, err = meter.Int64ObservableCounter("wabridge.inbound.records", metric.WithUnit("{record}"),
		metric.WithDescription("What the platforms said, by destination and by how storing it ended."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for st := range streams {
				for r := range results {
					o.Observe(m.counts[st][r].Load(), labels[st][r])
				}
			}
			return nil
		}))
	if err != nil {
		return nil, fmt.Errorf("making the inbound metrics: %w", err)
	}
	return m, nil
}

// age records how old a message was when it was stored.
func (m *Metrics) age(at time.Time) {
	if m.lag != nil {
		m.lag.Record(context.Background(), max(time.Since(at), 0).Seconds())
	}
}

func (m *Metrics) count(st stream, r result) { m.counts[st][r].Add(1) }
