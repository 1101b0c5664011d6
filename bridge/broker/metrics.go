package broker

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"wabridge/bridge"
)

const scope = "wabridge/bridge/broker"

// kinds are the second tokens of what stores publish: the bound on labels.
var kinds = []string{"recv", "status", "event", "dead"} //nolint:gochecknoglobals // a constant list

// metrics holds the instruments, with every set of labels made up front.
type metrics struct {
	published  metric.Float64Histogram
	duplicates metric.Int64Counter
	retries    metric.Int64Counter
	reconnects metric.Int64Counter
	refusals   metric.Int64Counter
	resets     metric.Int64Counter
	kinds      map[string]labels
}

// labels are one set of labels for either kind of instrument. The options are
// made once: a list of them for each record would be garbage.
type labels struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

func newMetrics(provider metric.MeterProvider, names bridge.Names) (*metrics, error) {
	meter := provider.Meter(scope)
	duration, err := messagingconv.NewClientOperationDuration(meter)
	faults := []error{err}
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		faults = append(faults, err)
		return c
	}
	m := &metrics{
		published:  duration.Inst(),
		duplicates: counter("wabridge.store.duplicates", "{record}", "Records that JetStream had already."),
		retries:    counter("wabridge.store.retries", "{try}", "Times that a record had to be published again."),
		reconnects: counter("wabridge.nats.reconnects", "{reconnect}", "Connections to NATS restored."),
		refusals:   counter("wabridge.nats.refusals", "{refusal}", "Permissions that NATS refused."),
		resets:     counter("wabridge.consumer.resets", "{reset}", "Shard consumers that had to start over."),
		kinds:      make(map[string]labels, len(kinds)),
	}
	for _, kind := range kinds {
		set := metric.WithAttributeSet(attribute.NewSet(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.operation.name", "publish"),
			attribute.String("messaging.operation.type", "send"),
			attribute.String("messaging.destination.template", names.Prefix()+"."+kind+".{session}"),
		))
		m.kinds[kind] = labels{record: []metric.RecordOption{set}, add: []metric.AddOption{set}}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	// What never happened is 0, not missing.
	for _, l := range m.kinds {
		m.duplicates.Add(context.Background(), 0, l.add...)
	}
	for _, c := range []metric.Int64Counter{m.retries, m.reconnects, m.refusals, m.resets} {
		c.Add(context.Background(), 0)
	}
	return m, nil
}

// stored records how long JetStream took to answer for a record.
func (m *metrics) stored(subject string, took time.Duration, duplicate bool) {
	_, rest, _ := strings.Cut(subject, ".")
	kind, _, _ := strings.Cut(rest, ".")
	l, ok := m.kinds[kind]
	if !ok {
		return
	}
	m.published.Record(context.Background(), took.Seconds(), l.record...)
	if duplicate {
		m.duplicates.Add(context.Background(), 1, l.add...)
	}
}
