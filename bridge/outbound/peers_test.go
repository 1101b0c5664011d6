package outbound

import (
	"context"
	"slices"
	"sync"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// phone is the platform: what it has taken, in order, and how it answers.
type phone struct {
	w *world

	mu         sync.Mutex
	window     int
	idempotent bool
	taken      map[string]string // ref to id
	refused    map[string]bool   // what is refused for good stays refused
	arrived    []arrival         // deliveries to users, in order
	sends      []arrival         // every send
	flying     map[string]int    // per conversation, of the run alive
	inflight   int
	faults     []string
	answer     func(out *bridge.Outgoing, nth int) answer
	nth        int
}

type arrival struct{ ref, conversation string }

// answer is what the platform does with one send.
type answer struct {
	result bridge.Result
	// takes: the message is delivered, whatever is answered.
	takes bool
	after time.Duration
}

func accept() answer { return answer{result: bridge.Result{Class: codec.Accepted}, takes: true} }

// forgetRun ends what a run before had in flight.
func (p *phone) forgetRun() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying, p.inflight = map[string]int{}, 0
}

func (p *phone) setWindow(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.window = n
}

func (p *phone) arrivals(conversation string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var refs []string
	for _, a := range p.arrived {
		if a.conversation == conversation || conversation == "" {
			refs = append(refs, a.ref)
		}
	}
	return refs
}

func (p *phone) sendCount() int { return p.sendsOf("") }

func (p *phone) sendsOf(ref string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, a := range p.sends {
		if ref == "" || a.ref == ref {
			n++
		}
	}
	return n
}

// connection is the phone as one run of a session has it.
type connection struct {
	*phone
	run int
}

func (c *connection) Start(func()) func() { return nil }
func (c *connection) Resume()             {}
func (c *connection) Idempotent() bool    { return c.idempotent }

func (c *connection) Window() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.window
}

func (c *connection) Send(out *bridge.Outgoing) {
	if !c.w.step(c.run) {
		return // it never left, and nobody is there to hear an answer
	}
	c.mu.Lock()
	c.flying[out.Conversation]++
	c.inflight++
	if c.flying[out.Conversation] > 1 {
		c.faults = append(c.faults, "two in flight in "+out.Conversation)
	}
	if c.inflight > c.window {
		c.faults = append(c.faults, "window exceeded")
	}
	c.nth++
	a := accept()
	if c.answer != nil {
		a = c.answer(out, c.nth)
	}
	c.sends = append(c.sends, arrival{out.Ref, out.Conversation})
	if _, known := c.taken[out.Ref]; known && c.idempotent && a.result.Class == codec.Permanent {
		a = accept() // it remembers what it took
	}
	if c.refused[out.Ref] {
		a = answer{result: bridge.Result{Class: codec.Permanent}}
	}
	c.refused[out.Ref] = a.result.Class == codec.Permanent
	if a.takes {
		id, known := c.taken[out.Ref]
		if !known || !c.idempotent {
			id = "wamid." + out.Ref
			c.taken[out.Ref] = id
			c.arrived = append(c.arrived, arrival{out.Ref, out.Conversation})
		}
		if a.result.Class == codec.Accepted {
			a.result.ID, a.result.Duplicate = id, known
		}
	}
	c.mu.Unlock()
	done := func() {
		c.mu.Lock()
		if c.w.alive(c.run) {
			c.flying[out.Conversation]--
			c.inflight--
		}
		c.mu.Unlock()
		if c.w.step(c.run) {
			out.Done(a.result)
		}
	}
	if a.after == 0 {
		done()
		return
	}
	time.AfterFunc(a.after, done)
}

// bucket is a KV bucket whose runs can be killed.
type bucket struct {
	w        *world
	mu       sync.Mutex
	values   map[string]bridge.Entry
	revision uint64
	slow     time.Duration // how long a write takes, each way
}

func (b *bucket) of(run int) bridge.KV { return &bucketRun{bucket: b, run: run} }

type bucketRun struct {
	*bucket
	run int
}

func (b *bucketRun) Get(_ context.Context, key string) (bridge.Entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.values[key]
	if !ok {
		return bridge.Entry{}, bridge.ErrNotFound
	}
	return e, nil
}

func (b *bucketRun) write(key string, value []byte, check func(bridge.Entry, bool) bool) (uint64, error) {
	if !b.w.step(b.run) {
		return 0, bridge.ErrClosed
	}
	if b.slow > 0 {
		elapse(b.slow)
		defer elapse(b.slow)
	}
	b.mu.Lock()
	e, ok := b.values[key]
	if !check(e, ok) {
		b.mu.Unlock()
		return 0, bridge.ErrConflict
	}
	b.revision++
	revision := b.revision
	b.values[key] = bridge.Entry{Key: key, Value: slices.Clone(value), Revision: revision}
	b.mu.Unlock()
	if !b.w.step(b.run) {
		return 0, bridge.ErrClosed
	}
	return revision, nil
}

func (b *bucketRun) Create(_ context.Context, key string, value []byte) (uint64, error) {
	return b.write(key, value, func(_ bridge.Entry, ok bool) bool { return !ok })
}

func (b *bucketRun) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.write(key, value, func(e bridge.Entry, ok bool) bool { return ok && e.Revision == revision })
}

func (b *bucketRun) Put(_ context.Context, key string, value []byte) (uint64, error) {
	return b.write(key, value, func(bridge.Entry, bool) bool { return true })
}

func (b *bucketRun) Delete(context.Context, string) error             { panic("not used") }
func (b *bucketRun) All(context.Context) ([]bridge.Entry, error)      { panic("not used") }
func (b *bucketRun) Watch(context.Context, func(*bridge.Entry)) error { panic("not used") }

type storeFunc func(context.Context, *bridge.Record) error

func (f storeFunc) Put(ctx context.Context, r *bridge.Record) error { return f(ctx, r) }

type outcomesFunc func(context.Context, uint64) (codec.Report, error)

func (f outcomesFunc) Outcome(ctx context.Context, n uint64) (codec.Report, error) { return f(ctx, n) }

type readerFunc func(context.Context, string, uint64, int) ([]*bridge.Delivery, error)

func (f readerFunc) ReadSend(ctx context.Context, session string, from uint64, limit int) ([]*bridge.Delivery, error) {
	return f(ctx, session, from, limit)
}
