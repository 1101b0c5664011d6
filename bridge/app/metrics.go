package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"wabridge/auth"
	"wabridge/bridge"
)

// metrics counts what the service as a whole holds. Label values are the closed
// sets of the vocabulary.
type metrics struct {
	sessions metric.Int64UpDownCounter
	changes  metric.Int64Counter
	shards   metric.Int64UpDownCounter
	moves    metric.Int64Counter
	states   map[bridge.State]metric.MeasurementOption
	fetches  metric.Int64Counter
	zombies  metric.Int64ObservableGauge
	soonest  metric.Int64ObservableGauge
	meter    metric.Meter

	mu     sync.Mutex
	expiry map[string]time.Time // of the sessions' fetched tokens
}

func newMetrics(p metric.MeterProvider) (*metrics, error) {
	meter := p.Meter("wabridge/bridge/app")
	m := &metrics{meter: meter, states: make(map[bridge.State]metric.MeasurementOption), expiry: make(map[string]time.Time)}
	var errs [7]error
	m.sessions, errs[0] = meter.Int64UpDownCounter("wabridge.sessions",
		metric.WithUnit("{session}"), metric.WithDescription("Sessions on this replica by state."))
	m.changes, errs[1] = meter.Int64Counter("wabridge.session.changes",
		metric.WithUnit("{change}"), metric.WithDescription("Changes of a session's state, by the new state."))
	m.shards, errs[2] = meter.Int64UpDownCounter("wabridge.shards.owned",
		metric.WithUnit("{shard}"), metric.WithDescription("Shards that this replica owns."))
	m.moves, errs[3] = meter.Int64Counter("wabridge.shards.moves",
		metric.WithUnit("{move}"), metric.WithDescription("Shards gained, handed over and lost by this replica."))
	m.fetches, errs[4] = meter.Int64Counter("wabridge.token.fetches",
		metric.WithUnit("{fetch}"), metric.WithDescription("Tokens asked for at token endpoints, by what came of it."))
	m.zombies, errs[5] = meter.Int64ObservableGauge("wabridge.sessions.zombie",
		metric.WithUnit("{session}"), metric.WithDescription("Connected sessions that heard nothing and sent nothing for a minute while commands wait."))
	m.soonest, errs[6] = meter.Int64ObservableGauge("wabridge.token.soonest.expiry",
		metric.WithUnit("s"), metric.WithDescription("When the first of the tokens that this replica fetched ends, in Unix time."))
	for _, s := range bridge.States() {
		o := metric.WithAttributeSet(attribute.NewSet(attribute.String("state", string(s))))
		m.states[s] = o
		m.sessions.Add(context.Background(), 0, o)
		m.changes.Add(context.Background(), 0, o)
	}
	for _, how := range []string{"gained", "handed_over", "lost"} {
		m.moves.Add(context.Background(), 0, move(how))
	}
	for _, result := range []string{"fetched", "refused", "forbidden", "failed"} {
		m.fetches.Add(context.Background(), 0, fetch(result))
	}
	return m, errors.Join(errs[:]...)
}

func move(how string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("move", how)))
}

func fetch(result string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("result", result)))
}

// fetched counts a session's fetch of a token, and remembers when it ends.
func (m *metrics) fetched(session string, token auth.Token, err error) {
	result := "fetched"
	switch {
	case errors.Is(err, auth.ErrRefused):
		result = "refused"
	case errors.Is(err, auth.ErrForbidden):
		result = "forbidden"
	case err != nil:
		result = "failed"
	}
	m.fetches.Add(context.Background(), 1, fetch(result))
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if token.Expiry.IsZero() {
		delete(m.expiry, session)
	} else {
		m.expiry[session] = token.Expiry
	}
}

// gone forgets a session that left this replica.
func (m *metrics) gone(session string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.expiry, session)
}

// watch observes from now on what is counted when somebody looks.
func (m *metrics) watch(zombies func(time.Time) int64) error {
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(m.zombies, zombies(time.Now()))
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.expiry) > 0 {
			first := slices.MinFunc(slices.Collect(maps.Values(m.expiry)), time.Time.Compare)
			o.ObserveInt64(m.soonest, first.Unix())
		}
		return nil
	}, m.zombies, m.soonest)
	return err
}

// moved counts a session that changed its state; "" is no state.
func (m *metrics) moved(from, to bridge.State) {
	ctx := context.Background()
	if from != "" {
		m.sessions.Add(ctx, -1, m.states[from])
	}
	if to != "" {
		m.sessions.Add(ctx, 1, m.states[to])
		m.changes.Add(ctx, 1, m.states[to])
	}
}

// shard counts a shard that came (+1) or went (-1).
func (m *metrics) shard(delta int64, how string) {
	m.shards.Add(context.Background(), delta)
	m.moves.Add(context.Background(), 1, move(how))
}
