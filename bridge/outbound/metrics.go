package outbound

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"wabridge/bridge"
	"wabridge/codec"
)

// Metrics counts what the sessions of a process do. Its hot counters are plain
// atomics that are read when somebody collects. A zero Metrics counts for
// nobody.
type Metrics struct {
	consumed, again, doubts, doubles atomic.Int64
	answers                          []atomic.Int64 // by class
	outcomes                         []counted
	duration                         messagingconv.ProcessDuration
	lag                              metric.Float64Histogram
	durations                        [][]metric.RecordOption // by class

	mu       sync.Mutex
	sessions map[*Session]struct{}
}

// counted is how often an outcome came with a class.
type counted struct {
	word  string
	class codec.Class
	set   metric.MeasurementOption
	times atomic.Int64
}

// NewMetrics makes the instruments, with every label value from the start. It
// is called once for all sessions of a process.
func NewMetrics(provider metric.MeterProvider, names bridge.Names) (*Metrics, error) {
	meter := provider.Meter(scope)
	m := &Metrics{sessions: make(map[*Session]struct{})}
	classes := codec.Classes()
	m.answers = make([]atomic.Int64, len(classes)+1)
	m.durations = make([][]metric.RecordOption, len(classes)+1)
	common := []attribute.KeyValue{
		attribute.String("messaging.system", "nats"),
		attribute.String("messaging.operation.name", "process"),
		attribute.String("messaging.destination.template", names.Send("{session}")),
	}
	answers := make([]metric.MeasurementOption, len(classes)+1)
	for _, class := range classes {
		answers[class] = metric.WithAttributeSet(attribute.NewSet(attribute.String("class", class.String())))
		set := attribute.NewSet(append(common[:3:3], attribute.String("error.type", class.String()))...)
		if class == codec.Accepted {
			set = attribute.NewSet(common...)
		}
		m.durations[class] = []metric.RecordOption{metric.WithAttributeSet(set)}
	}
	m.outcomes = make([]counted, 0, 2*len(classes))
	for _, pair := range []struct {
		word    string
		classes []codec.Class
	}{
		{codec.StatusAccepted, []codec.Class{codec.Accepted}},
		{codec.StatusRejected, classes},
		{codec.StatusExpired, []codec.Class{codec.Expired}},
		{codec.StatusUnknown, []codec.Class{codec.Unknown}},
	} {
		for _, class := range pair.classes {
			m.outcomes = append(m.outcomes, counted{word: pair.word, class: class, set: metric.WithAttributeSet(
				attribute.NewSet(attribute.String("outcome", pair.word), attribute.String("class", class.String())))})
		}
	}

	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	m.duration, err = messagingconv.NewProcessDuration(meter)
	note(err)
	consumed, err := messagingconv.NewClientConsumedMessagesObservable(meter)
	note(err)
	m.lag, err = meter.Float64Histogram("wabridge.outbound.lag", metric.WithUnit("s"),
		metric.WithDescription("From WA_SEND's taking a command to the platform's accepting it."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200))
	note(err)
	counter := func(name, unit, text string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		note(err)
		return c
	}
	gauge := func(name, unit, text string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
		note(err)
		return g
	}
	sent := counter("wabridge.outbound.answers", "{answer}", "Answers of platforms to sends, by class.")
	ended := counter("wabridge.outbound.outcomes", "{command}", "Commands that are settled, by outcome and class.")
	again := counter("wabridge.outbound.redelivered", "{command}", "Commands that WA_SEND delivered again.")
	doubts := counter("wabridge.outbound.unanswered", "{send}", "Sends that were written and never answered, where a repeat could double.")
	doubles := counter("wabridge.outbound.outcome.duplicates", "{command}", "Commands whose outcome was stored before.")
	inflight := gauge("wabridge.outbound.inflight", "{send}", "Sends that a platform has not answered.")
	held := gauge("wabridge.outbound.held", "{command}", "Commands in memory that are not settled.")
	doubtful := gauge("wabridge.outbound.doubtful", "{command}", "Commands that wait for a status to resolve an unanswered send.")
	behind := gauge("wabridge.outbound.backlog.length", "{command}", "Commands that were left in WA_SEND and are to be read again, as far as this process knows.")
	backlogs := gauge("wabridge.outbound.backlog.sessions", "{session}", "Sessions that are in their backlog.")
	oldest, err := meter.Float64ObservableGauge("wabridge.outbound.oldest.age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest command that is not settled."))
	note(err)
	if len(errs) > 0 {
		return nil, fmt.Errorf("creating outbound metrics: %w", errors.Join(errs...))
	}

	whole := metric.WithAttributeSet(attribute.NewSet(common...))
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(consumed.Inst(), m.consumed.Load(), whole)
		for _, class := range classes {
			o.ObserveInt64(sent, m.answers[class].Load(), answers[class])
		}
		for i := range m.outcomes {
			o.ObserveInt64(ended, m.outcomes[i].times.Load(), m.outcomes[i].set)
		}
		o.ObserveInt64(again, m.again.Load())
		o.ObserveInt64(doubts, m.doubts.Load())
		o.ObserveInt64(doubles, m.doubles.Load())
		total := m.total(time.Now())
		o.ObserveInt64(inflight, total.inflight)
		o.ObserveInt64(held, total.held)
		o.ObserveInt64(doubtful, total.doubtful)
		o.ObserveInt64(behind, total.behind)
		o.ObserveInt64(backlogs, total.backlogs)
		o.ObserveFloat64(oldest, total.oldest.Seconds())
		return nil
	}, consumed.Inst(), sent, ended, again, doubts, doubles, inflight, held, doubtful, behind, backlogs, oldest)
	if err != nil {
		return nil, fmt.Errorf("registering outbound metrics: %w", err)
	}
	return m, nil
}

// load is what a session, or all of them, have to do.
type load struct {
	inflight, held, doubtful, behind, backlogs int64
	oldest                                     time.Duration
}

func (m *Metrics) total(now time.Time) load {
	m.mu.Lock()
	defer m.mu.Unlock()
	var sum load
	for s := range m.sessions {
		one := s.load(now)
		sum.inflight += one.inflight
		sum.held += one.held
		sum.doubtful += one.doubtful
		sum.behind += one.behind
		sum.backlogs += one.backlogs
		sum.oldest = max(sum.oldest, one.oldest)
	}
	return sum
}

func (s *Session) load(now time.Time) load {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := load{inflight: int64(s.inflight), held: int64(len(s.commands)), behind: int64(s.back.behind)}
	if s.back.on {
		l.backlogs = 1
		if !s.back.oldest.IsZero() {
			l.oldest = now.Sub(s.back.oldest)
		}
	}
	for _, c := range s.commands {
		if c.state == isDoubtful {
			l.doubtful++
		}
		if !c.stored.IsZero() {
			l.oldest = max(l.oldest, now.Sub(c.stored))
		}
	}
	return l
}

// Stalled reports whether the session has held a command for longer than d and
// no answer of the platform came within d: where it is connected, it is dead
// without knowing it.
func (s *Session) Stalled(now time.Time, d time.Duration) bool {
	return s.load(now).oldest > d && now.Sub(time.Unix(0, s.heard.Load())) > d
}

func (m *Metrics) join(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions != nil {
		m.sessions[s] = struct{}{}
	}
}

func (m *Metrics) leave(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, s)
}

func (m *Metrics) taken(n int) { m.consumed.Add(int64(n)) }

// delivered counts a command that WA_SEND delivered to a live session.
func (m *Metrics) delivered(d *bridge.Delivery) {
	m.taken(1)
	if d.Redelivered {
		m.again.Add(1)
	}
}

func (m *Metrics) unanswered() { m.doubts.Add(1) }
func (m *Metrics) double()     { m.doubles.Add(1) }

func (m *Metrics) answered(class codec.Class) {
	if int(class) < len(m.answers) {
		m.answers[class].Add(1)
	}
}

func (m *Metrics) settled(c *command) {
	for i := range m.outcomes {
		if o := &m.outcomes[i]; o.word == c.outcome.word && o.class == c.outcome.class {
			o.times.Add(1)
			break
		}
	}
	if c.outcome.word == codec.StatusAccepted && !c.stored.IsZero() && m.lag != nil {
		m.lag.Record(context.Background(), max(c.outcome.at.Sub(c.stored), 0).Seconds())
	}
	if int(c.outcome.class) < len(m.durations) {
		m.duration.Float64Histogram.Record(context.Background(), time.Since(c.taken).Seconds(), m.durations[c.outcome.class]...)
	}
}
