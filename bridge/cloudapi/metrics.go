package cloudapi

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// sessionMeters are what a session measures.
type sessionMeters struct {
	valid   metric.Int64Gauge
	expires metric.Int64Gauge
	session metric.MeasurementOption
}

func newSessionMeters(m metric.Meter, session string) (sessionMeters, error) {
	valid, err := m.Int64Gauge("wabridge.token.valid",
		metric.WithDescription("1 where the platform called the session's token valid, else 0."))
	if err != nil {
		return sessionMeters{}, fmt.Errorf("making a metric: %w", err)
	}
	expires, err := m.Int64Gauge("wabridge.token.expiry", metric.WithUnit("s"),
		metric.WithDescription("When the session's token ends, in Unix time; 0 is never."))
	if err != nil {
		return sessionMeters{}, fmt.Errorf("making a metric: %w", err)
	}
	return sessionMeters{
		valid:   valid,
		expires: expires,
		session: metric.WithAttributes(attribute.String("session", session)),
	}, nil
}

func (m sessionMeters) checked(ctx context.Context, found *Inspection) {
	var valid int64
	if found.Valid {
		valid = 1
	}
	m.valid.Record(ctx, valid, m.session)
	m.expires.Record(ctx, found.Expires, m.session)
}

// refusal is why a webhook was not taken; the closed set of a metric's label.
type refusal string

// The refusals.
const (
	refusedMethod    refusal = "method"
	refusedPath      refusal = "path"
	refusedVerify    refusal = "verify_token"
	refusedType      refusal = "content_type"
	refusedSignature refusal = "signature"
	refusedSize      refusal = "too_large"
	refusedTruncated refusal = "truncated"
	refusedSlow      refusal = "slow"
	refusedBusy      refusal = "busy"
	refusedStore     refusal = "not_stored"
)

// refusals lists them all.
func refusals() []refusal {
	return []refusal{
		refusedMethod, refusedPath, refusedVerify, refusedType, refusedSignature,
		refusedSize, refusedTruncated, refusedSlow, refusedBusy, refusedStore,
	}
}

// webhookMeters are what the webhooks measure.
type webhookMeters struct {
	refused  metric.Int64Counter
	parts    metric.Int64Counter
	unrouted metric.Int64Counter
	reasons  map[refusal]metric.MeasurementOption
}

func newWebhookMeters(m metric.Meter) (webhookMeters, error) {
	w := webhookMeters{reasons: make(map[refusal]metric.MeasurementOption)}
	for name, into := range map[string]*metric.Int64Counter{
		"wabridge.webhook.refused":  &w.refused,
		"wabridge.webhook.parts":    &w.parts,
		"wabridge.webhook.unrouted": &w.unrouted,
	} {
		counter, err := m.Int64Counter(name, metric.WithDescription(descriptions()[name]))
		if err != nil {
			return webhookMeters{}, fmt.Errorf("making a metric: %w", err)
		}
		*into = counter
	}
	w.parts.Add(context.Background(), 0)
	w.unrouted.Add(context.Background(), 0)
	for _, reason := range refusals() {
		w.reasons[reason] = metric.WithAttributes(attribute.String("reason", string(reason)))
		w.refused.Add(context.Background(), 0, w.reasons[reason])
	}
	return w, nil
}

func descriptions() map[string]string {
	return map[string]string{
		"wabridge.webhook.refused":  "Webhook requests that were not answered with 200, by reason.",
		"wabridge.webhook.parts":    "Messages, statuses and events that webhooks brought.",
		"wabridge.webhook.unrouted": "Parts of webhooks that belong to no session.",
	}
}
