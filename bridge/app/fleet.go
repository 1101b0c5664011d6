package app

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wabridge/bridge"
)

// fleet is every shard that this replica owns. It implements ownership.Shards.
type fleet struct {
	host *host

	mu     sync.Mutex
	shards map[int]*shard
	ending map[int]*shard // the last life of each, over or about to be
	tasks  sync.WaitGroup
	over   bool // run waits for the tasks, and no more are begun

	handing chan struct{} // holds one for each shard that is being handed over
	regains regains       // of run alone
}

// handing is how many shards are handed over at once. From its end here to its
// start elsewhere a session has no connection: the fewer sessions share that
// time, the shorter it is, and until its turn a shard works on.
const handing = 4

func newFleet(h *host) *fleet {
	return &fleet{
		host: h, shards: make(map[int]*shard), ending: make(map[int]*shard), handing: make(chan struct{}, handing),
		regains: make(regains),
	}
}

// Start implements ownership.Shards.
func (f *fleet) Start(n int, note []byte) {
	s := newShard(n, f.host, note)
	f.mu.Lock()
	before := f.ending[n]
	f.shards[n] = s
	f.mu.Unlock()
	f.host.metrics.shard(1, "gained")
	f.begin(func() {
		if before != nil {
			<-before.over
		}
		s.begin()
	})
}

// HandOver implements ownership.Shards.
func (f *fleet) HandOver(ctx context.Context, n int) []byte {
	defer f.turn(ctx)()
	s := f.take(n)
	if s == nil {
		return nil
	}
	note := f.end(ctx, s, "handed_over")
	// What the sessions said of their end must stand before another replica says
	// that they are connected.
	if err := f.host.announcer.flush(ctx); err != nil {
		s.log.Warn("handing a shard over", "error", err)
	}
	return note
}

// turn waits for a shard's turn to be handed over, for no more than a quarter of
// the time that ctx leaves: shards that take long must not take that of others.
func (f *fleet) turn(ctx context.Context) (over func()) {
	wait := time.Minute
	if end, limited := ctx.Deadline(); limited {
		wait = time.Until(end) / 4
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case f.handing <- struct{}{}:
		return func() { <-f.handing }
	case <-timer.C:
	case <-ctx.Done():
	}
	return func() {}
}

// Drop implements ownership.Shards.
func (f *fleet) Drop(n int) {
	s := f.take(n)
	if s == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if s = f.ending[n]; s != nil { // lost while it is handed over
			f.silence(s)
		}
		return
	}
	f.silence(s)
	f.begin(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()              // nothing is waited for: another replica is at work
		f.end(ctx, s, "lost") // nobody waits for its note
	})
}

// silence keeps what this replica still has to tell of a shard's sessions from
// being told after what the next owner tells.
func (f *fleet) silence(s *shard) {
	s.lost.Store(true)
	f.host.announcer.forget(maps.Keys(s.all()))
}

// take takes a shard out of service: from here on it is another one that Start
// puts in its place. nil where it is not in service.
func (f *fleet) take(n int) *shard {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shards[n]
	if s != nil {
		delete(f.shards, n)
		f.ending[n] = s
	}
	return s
}

func (f *fleet) end(ctx context.Context, s *shard, how string) (note []byte) {
	defer close(s.over)
	note = s.end(ctx)
	f.host.metrics.shard(-1, how)
	return note
}

func (f *fleet) owned() []*shard {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*shard, 0, len(f.shards))
	for _, s := range f.shards {
		all = append(all, s)
	}
	return all
}

// shard is an owned shard, or nil.
func (f *fleet) shard(n int) *shard {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shards[n]
}

// zombies counts the sessions that only seem to be connected.
func (f *fleet) zombies(now time.Time) int64 {
	var n int64
	for _, s := range f.owned() {
		for _, one := range s.all() {
			if one.zombie(now) {
				n++
			}
		}
	}
	return n
}

// redefine brings a session into line with its definition, where its shard is
// owned.
func (f *fleet) redefine(id string) {
	if s := f.shard(bridge.Shard(id, f.host.shards)); s != nil {
		f.begin(func() { s.redefine(id) })
	}
}

// begin runs a task beside run, which waits for it. After run it does nothing.
func (f *fleet) begin(task func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.tasks.Go(task)
	}
}

// run does what is due from time to time until ctx ends, then waits for what
// was begun.
func (f *fleet) run(ctx context.Context) {
	defer func() {
		f.mu.Lock()
		f.over = true
		f.mu.Unlock()
		f.tasks.Wait()
	}()
	f.begin(func() { f.keep(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			f.host.outbound.Sweep(now)
			for _, s := range f.owned() {
				s.orphans.Sweep(now)
			}
			f.regain(now)
		}
	}
}

// saving bounds how many shards save their positions at once.
const saving = 16

// keep saves which events of the sessions are stored, and has the sessions
// forget what is settled. It is apart from run: it waits for JetStream.
func (f *fleet) keep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var saves errgroup.Group
		saves.SetLimit(saving)
		if reached, ok := f.reached(ctx); ok {
			least := uint64(saveAfter)
			if n%saveEvery == 0 {
				least = 1
			}
			for _, s := range f.owned() {
				saves.Go(func() error { s.keepPositions(ctx, reached, least); return nil })
			}
		}
		if n%pruneEvery == 0 {
			for _, s := range f.owned() {
				saves.Go(func() error { s.prune(ctx); return nil })
			}
		}
		_ = saves.Wait() // none of them fails
	}
}

// pruneEvery is in how many seconds sessions forget once.
const pruneEvery = 10

// reached asks for the end of WA_RECV. false says that JetStream does not answer,
// or that another replica may have stored what stands before that end.
func (f *fleet) reached(ctx context.Context) (uint64, bool) {
	end, err := f.host.broker.RecvEnd(ctx)
	if err != nil {
		f.host.log.Debug("reading the end of what is stored", "error", err)
		return 0, false
	}
	if !f.host.may() {
		return 0, false
	}
	f.host.inbound.Horizon.Store(end)
	return end, true
}
