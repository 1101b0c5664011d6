package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"wabridge/bridge"
)

// keptRecords is how many messages the page can open.
const keptRecords = 500

// hop is what the page shows beside the phone: the messages that JetStream
// stored, each with its trace. It also publishes for who has no NATS client.
type hop struct {
	boot  string // tells this hop from the one before a restart
	url   string
	names bridge.Names
	nc    *nats.Conn
	js    jetstream.JetStream
	spans *spans
	own   *sdktrace.TracerProvider // of the page as a publisher

	stop context.CancelFunc
	wg   sync.WaitGroup
	done <-chan struct{}

	mu      sync.Mutex
	n       int
	records []*record
	counts  map[string]int    // by kind, and statuses by type
	traces  map[string]string // ref of a command to its trace
	news    chan struct{}     // closed and replaced at each change
}

// startHop connects to NATS and follows the streams as soon as they are there,
// until leave or close.
func startHop(ctx context.Context, url string) (*hop, error) {
	names, err := bridge.NewNames(bridge.DefaultPrefix)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(url, nats.Name("playground's page"))
	if err != nil {
		return nil, fmt.Errorf("connecting the page to NATS: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connecting the page to JetStream: %w", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &hop{
		boot: rand.Text(), url: url, names: names, nc: nc, js: js, stop: stop, done: ctx.Done(),
		counts: map[string]int{}, traces: map[string]string{}, news: make(chan struct{}),
	}
	h.spans = newSpans(h.tell)
	h.own = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(h.spans),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("publisher"))))
	for _, stream := range []string{names.SendStream(), names.RecvStream(), names.DeadStream()} {
		h.wg.Go(func() { h.follow(ctx, stream) })
	}
	return h, nil
}

// leave ends the streams to open pages, and following.
func (h *hop) leave() { h.stop() }

// close ends everything.
func (h *hop) close(ctx context.Context) error {
	h.stop()
	h.wg.Wait()
	h.nc.Close()
	if err := h.own.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("closing the page's spans: %w", err)
	}
	return nil
}

// follow reads a stream from its beginning. The bridge makes the streams, so
// they may be missing for a while.
func (h *hop) follow(ctx context.Context, name string) {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		if h.read(ctx, name) == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
	}
}

// read returns nil once ctx has ended.
func (h *hop) read(ctx context.Context, name string) error {
	stream, err := h.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	created := stream.CachedInfo().Created
	reading, err := consumer.Consume(func(m jetstream.Msg) {
		if meta, err := m.Metadata(); err == nil { // it only fails for what is no message of a stream
			h.add(newRecord(meta, &nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, created))
		}
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	reading.Stop()
	<-reading.Closed()
	return nil
}

func (h *hop) add(r *record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	r.N = h.n
	h.records = append(h.records, r)
	if len(h.records) > keptRecords {
		delete(h.traces, h.records[0].ref)
		h.records = slices.Delete(h.records, 0, 1)
	}
	h.counts[r.Kind]++
	if r.Kind == "status" && len(h.counts) < 64 {
		h.counts[r.Type]++
	}
	if r.ref != "" && r.Trace != "" && h.traces[r.ref] == "" {
		h.traces[r.ref] = r.Trace
	}
	h.tellLocked()
}

// tell wakes everyone who waits for news.
func (h *hop) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tellLocked()
}

func (h *hop) tellLocked() {
	close(h.news)
	h.news = make(chan struct{})
}

// after gives the records that came after the n-th, at most limit and the
// newest, with the counts, and what to wait for where there is nothing more.
func (h *hop) after(n, limit int) (list []record, counts map[string]int, news <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := max(0, len(h.records)-min(limit, max(0, h.n-n)))
	for _, r := range h.records[from:] {
		list = append(list, *h.resolved(r))
	}
	return list, maps.Clone(h.counts), h.news
}

// resolved is a record with its trace, where its outcome tells it. Call it with
// mu held.
func (h *hop) resolved(r *record) *record {
	if r.Trace == "" && r.ref != "" {
		r.Trace = h.traces[r.ref]
	}
	return r
}

// find gives the n-th record.
func (h *hop) find(n int) (opened, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := n - h.n + len(h.records) - 1
	if i < 0 || i >= len(h.records) {
		return opened{}, false
	}
	return h.resolved(h.records[i]).open(), true
}

// of lists the records of a trace.
func (h *hop) of(trace string) []record {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []record{}
	for _, r := range h.records {
		if h.resolved(r).Trace == trace {
			list = append(list, *r)
		}
	}
	return list
}

var errNotStored = errors.New("nothing stored it: the streams are not there yet")
