package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const (
	maxTraces = 500
	maxSpans  = 200 // of one trace
)

// span is what the page shows of one.
type span struct {
	ID      string            `json:"id"`
	Parent  string            `json:"parent,omitempty"`
	Name    string            `json:"name"`
	Kind    string            `json:"kind"`
	Service string            `json:"service"`
	Begin   time.Time         `json:"begin"`
	End     time.Time         `json:"end"`
	Error   bool              `json:"error,omitempty"`
	Text    string            `json:"text,omitempty"` // of an error
	Values  map[string]string `json:"values"`
}

// spans keeps the last traces of this process. It is a span processor: the
// bridge's and the page's own spans end here.
type spans struct {
	mu      sync.Mutex
	traces  map[string]*traced
	order   []string // trace ids, oldest first
	version int
	changed func()
}

// traced is the spans of one trace; version is that of spans at its last change.
type traced struct {
	spans   []span
	version int
}

func newSpans(changed func()) *spans { return &spans{traces: map[string]*traced{}, changed: changed} }

// OnStart implements sdktrace.SpanProcessor.
func (*spans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (s *spans) OnEnd(ended sdktrace.ReadOnlySpan) {
	sc := ended.SpanContext()
	one := span{
		ID: sc.SpanID().String(), Name: ended.Name(), Kind: ended.SpanKind().String(), Service: serviceOf(ended.Resource()),
		Begin: ended.StartTime(), End: ended.EndTime(), Error: ended.Status().Code == codes.Error, Text: ended.Status().Description,
		Values: make(map[string]string, len(ended.Attributes())),
	}
	if ended.Parent().IsValid() {
		one.Parent = ended.Parent().SpanID().String()
	}
	for _, a := range ended.Attributes() {
		one.Values[string(a.Key)] = a.Value.String()
	}
	s.add(sc.TraceID().String(), one)
	s.changed()
}

func serviceOf(r *resource.Resource) string {
	v, _ := r.Set().Value(semconv.ServiceNameKey)
	return v.AsString()
}

func (s *spans) add(id string, one span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.traces[id]
	if t == nil {
		t = &traced{}
		s.traces[id] = t
		s.order = append(s.order, id)
		if len(s.order) > maxTraces {
			delete(s.traces, s.order[0])
			s.order = slices.Delete(s.order, 0, 1)
		}
	}
	s.version++
	t.version = s.version
	if len(t.spans) < maxSpans {
		t.spans = append(t.spans, one)
	}
}

// Shutdown implements sdktrace.SpanProcessor.
func (*spans) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (*spans) ForceFlush(context.Context) error { return nil }

// trace gives the spans of a trace, by their beginning.
func (s *spans) trace(id string) []span {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.traces[id]
	if t == nil {
		return []span{}
	}
	list := slices.Clone(t.spans)
	slices.SortStableFunc(list, func(a, b span) int {
		if c := a.Begin.Compare(b.Begin); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// since lists the traces that changed after a version, and the version now.
func (s *spans) since(version int) (ids []string, now int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.order {
		if s.traces[id].version > version {
			ids = append(ids, id)
		}
	}
	return ids, s.version
}
