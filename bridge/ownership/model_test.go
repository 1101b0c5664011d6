package ownership

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wabridge/bridge"
)

// bucket is the KV bucket of the model: it applies writes one by one and keeps
// every one of them, in order, for the watches.
type bucket struct {
	log    []bridge.Entry
	latest map[string]uint64
}

func (b *bucket) apply(key string, value []byte, expect uint64, unconditional bool) (uint64, bool) {
	if !unconditional && b.latest[key] != expect {
		return 0, false
	}
	rev := uint64(len(b.log) + 1)
	b.log = append(b.log, bridge.Entry{Key: key, Value: value, Revision: rev})
	b.latest[key] = rev
	return rev, true
}

// flight is a write on its way: not yet applied, or applied and not yet answered.
type flight struct {
	op       op
	applied  bool
	revision uint64
	conflict bool
}

// node is one replica of the model.
type node struct {
	id       string
	core     *core
	seen     int // entries of the log that its watch has delivered
	flights  []*flight
	draining []int
	offset   time.Duration // of its clock
	starts   int
	down     bool
}

type world struct {
	now    time.Duration
	bucket bucket
	nodes  []*node
}

const modelShards = 5

func modelTiming() timing {
	return timing{beat: 300 * time.Millisecond, lease: 800 * time.Millisecond, dead: time.Second}
}

func newWorld(nodes int) *world {
	w := &world{bucket: bucket{latest: map[string]uint64{}}}
	for i := range nodes {
		n := &node{id: fmt.Sprintf("r%d", i), offset: time.Duration(i) * 777 * time.Second}
		w.start(n)
		w.nodes = append(w.nodes, n)
	}
	return w
}

func (w *world) start(n *node) {
	n.starts++
	n.core = newCore(n.id, fmt.Sprintf("%04d", n.starts), modelShards, modelTiming())
	n.seen, n.flights, n.draining, n.down = 0, nil, nil, false
}

func (w *world) clock(n *node) time.Duration { return w.now + n.offset }

func (w *world) step(n *node) {
	ops, handOver := n.core.step(w.clock(n))
	for _, o := range ops {
		n.flights = append(n.flights, &flight{op: o})
	}
	n.draining = append(n.draining, handOver...)
	if n.core.leaving && !slices.ContainsFunc(n.core.shards, func(s shardView) bool { return s.phase != foreign }) {
		n.down, n.flights = true, nil // Member forgets itself and ends
		w.bucket.log = append(w.bucket.log, bridge.Entry{Key: replicaKey(n.id), Revision: uint64(len(w.bucket.log) + 1), Deleted: true})
	}
}

func (w *world) deliver(n *node) {
	if n.seen == len(w.bucket.log) {
		n.core.ready = true
		return
	}
	e := w.bucket.log[n.seen]
	n.seen++
	n.core.observe(&e, w.clock(n))
}

func (w *world) applyFlight(n *node, f *flight) {
	if f.applied {
		return
	}
	f.applied = true
	key := shardKey(f.op.shard)
	if f.op.kind == opBeat {
		key = replicaKey(n.id)
	}
	rev, ok := w.bucket.apply(key, f.op.value, f.op.revision, f.op.kind == opBeat)
	f.revision, f.conflict = rev, !ok
}

// answer brings a write's answer home: the true one, or a time-out.
func (w *world) answer(n *node, i int, lost bool) {
	f := n.flights[i]
	n.flights = append(n.flights[:i:i], n.flights[i+1:]...)
	switch {
	case lost || !f.applied:
		n.core.done(f.op, 0, fmt.Errorf("no answer"), false, w.clock(n))
	case f.conflict:
		n.core.done(f.op, 0, bridge.ErrConflict, true, w.clock(n))
	default:
		n.core.done(f.op, f.revision, nil, false, w.clock(n))
	}
	if f.op.kind == opRelease && n.core.shards[f.op.shard].phase == leaving {
		n.draining = append(n.draining, f.op.shard) // Member asks again
	}
}

func (w *world) drain(n *node) {
	if len(n.draining) == 0 {
		return
	}
	shard := n.draining[0]
	n.draining = n.draining[1:]
	if o, ok := n.core.drained(shard, nil); ok {
		n.flights = append(n.flights, &flight{op: o})
	}
}

// acting reports whether a replica would act for a shard now.
func (w *world) acting(n *node, shard int) bool {
	s := &n.core.shards[shard]
	return !n.down && (s.phase == owned || s.phase == leaving) && w.clock(n) < n.core.lease()
}

func (w *world) check(t *rapid.T) {
	for shard := range modelShards {
		var who []string
		for _, n := range w.nodes {
			if w.acting(n, shard) {
				who = append(who, n.id)
			}
		}
		if len(who) > 1 {
			t.Fatalf("at %v shard %d has the owners %v", w.now, shard, who)
		}
	}
}

// calm lets time pass with nothing in the way.
func (w *world) calm(d time.Duration) {
	for end := w.now + d; w.now < end; w.now += 10 * time.Millisecond {
		for _, n := range w.nodes {
			if n.down {
				continue
			}
			w.step(n)
			for len(n.flights) > 0 {
				w.applyFlight(n, n.flights[0])
				w.answer(n, 0, false)
			}
			for n.seen < len(w.bucket.log) {
				w.deliver(n)
			}
			w.deliver(n)
			w.drain(n)
		}
	}
}

func (w *world) checkSettled(t *rapid.T) {
	held := map[string]int{}
	for shard := range modelShards {
		owners := 0
		for _, n := range w.nodes {
			if w.acting(n, shard) {
				owners++
				held[n.id]++
			}
		}
		if owners != 1 {
			t.Fatalf("after calm, shard %d has %d owners", shard, owners)
		}
	}
	least, most := modelShards, 0
	for _, n := range w.nodes {
		if !n.down && !n.core.leaving {
			least, most = min(least, held[n.id]), max(most, held[n.id])
		}
	}
	if most-least > 1 {
		t.Fatalf("after calm, shares are uneven: %v", held)
	}
}

// TestModel lets three replicas live through pauses, lost and late writes,
// late watches, kills, restarts and departures: never has a shard two owners,
// and once all is calm each has one and the shares are even.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(3)
		w.calm(3 * time.Second)
		w.checkSettled(t)
		pick := func(t *rapid.T) *node { return w.nodes[rapid.IntRange(0, len(w.nodes)-1).Draw(t, "node")] }
		t.Repeat(map[string]func(*rapid.T){
			"": w.check,
			"time": func(t *rapid.T) {
				w.now += time.Duration(rapid.IntRange(1, 400).Draw(t, "ms")) * time.Millisecond
			},
			"pause": func(t *rapid.T) {
				w.now += time.Duration(rapid.IntRange(500, 3000).Draw(t, "ms")) * time.Millisecond
			},
			"calm": func(t *rapid.T) {
				w.calm(time.Duration(rapid.IntRange(10, 1500).Draw(t, "ms")) * time.Millisecond)
			},
			"step": func(t *rapid.T) { w.step(pick(t)) },
			"watch": func(t *rapid.T) {
				n := pick(t)
				for range rapid.IntRange(1, 8).Draw(t, "entries") {
					w.deliver(n)
				}
			},
			"apply": func(t *rapid.T) {
				n := pick(t)
				if len(n.flights) > 0 {
					w.applyFlight(n, n.flights[rapid.IntRange(0, len(n.flights)-1).Draw(t, "flight")])
				}
			},
			"answer": func(t *rapid.T) {
				n := pick(t)
				if len(n.flights) > 0 {
					w.answer(n, rapid.IntRange(0, len(n.flights)-1).Draw(t, "flight"), rapid.Bool().Draw(t, "lost"))
				}
			},
			"drain": func(t *rapid.T) { w.drain(pick(t)) },
			"kill": func(t *rapid.T) {
				n := pick(t)
				for _, f := range n.flights { // what is on its way may still arrive
					if rapid.Bool().Draw(t, "arrives") {
						w.applyFlight(n, f)
					}
				}
				n.down, n.flights = true, nil
			},
			"restart": func(t *rapid.T) {
				if n := pick(t); n.down {
					w.start(n)
				}
			},
			"leave": func(t *rapid.T) { pick(t).core.leaving = true },
		})
		staying := 0
		for _, n := range w.nodes {
			if !n.down && !n.core.leaving {
				staying++
			}
		}
		if staying == 0 {
			w.start(w.nodes[0])
		}
		w.calm(4 * time.Second)
		w.checkSettled(t)
	})
}

// TestAnOutageMovesNothing has the bucket take no writes for a while, as when
// its leader is killed. What was written meanwhile is lost, or arrives once the
// outage is over, of one replica after the other.
func TestAnOutageMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(3)
		w.calm(3 * time.Second)
		w.checkSettled(t)
		holders := func() (list []string) {
			for shard := range modelShards {
				for _, n := range w.nodes {
					if n.core.shards[shard].phase == owned {
						list = append(list, n.id)
					}
				}
			}
			return list
		}
		before := holders()
		late := rapid.Bool().Draw(t, "late")
		for end := w.now + time.Duration(rapid.IntRange(100, 9000).Draw(t, "outage"))*time.Millisecond; w.now < end; w.now += 10 * time.Millisecond {
			for _, n := range w.nodes {
				w.step(n)
				w.deliver(n)
				if !late {
					for len(n.flights) > 0 {
						w.answer(n, 0, true)
					}
				}
			}
		}
		for _, i := range rapid.Permutation([]int{0, 1, 2}).Draw(t, "order") {
			n := w.nodes[i]
			w.step(n)
			for len(n.flights) > 0 {
				w.applyFlight(n, n.flights[0])
				w.answer(n, 0, false)
			}
			for range rapid.IntRange(0, 30).Draw(t, "ms") {
				w.now += 10 * time.Millisecond
				for _, each := range w.nodes[:i+1] {
					for each.seen < len(w.bucket.log) {
						w.deliver(each)
					}
					w.step(each)
				}
			}
		}
		w.calm(4 * time.Second)
		if after := holders(); !slices.Equal(after, before) {
			t.Fatalf("the shards were held by %v, and are held by %v", before, after)
		}
	})
}
