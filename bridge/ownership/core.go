package ownership

import (
	"encoding/json"
	"slices"
	"time"

	"wabridge/bridge"
)

// timing holds the three times that the rules stand on; see the package's
// comment.
type timing struct{ beat, lease, dead time.Duration }

// opKind is a kind of write to the bucket.
type opKind uint8

const (
	opBeat    opKind = iota + 1
	opClaim          // take a shard that is free, or whose owner is dead
	opProve          // write an own shard again, after a freeze
	opRelease        // give a shard back
)

// op is one write that core asks for. Its result comes back by done.
type op struct {
	kind     opKind
	shard    int
	revision uint64 // expected; 0 for a key without a value
	value    []byte
	note     []byte        // of the owner before, for a claim
	sent     time.Duration // of a heartbeat
	chain    uint64        // the chain of heartbeats it was asked for in
}

// phase is where a shard stands with this replica.
type phase uint8

const (
	foreign  phase = iota // somebody else's, or nobody's
	claiming              // a claim is on its way
	owned
	leaving // the app is draining it
	freeing // a release is on its way
)

type shardView struct {
	owner, incarnation string
	note               []byte // of the owner before, while the shard is free
	revision           uint64
	phase              phase
	// unproven is set from a freeze until a compare-and-set shows that the shard
	// is still ours.
	unproven, proving bool
}

type replicaView struct {
	beatRecord
	seen time.Duration // when its heartbeat was last seen to change
}

// core is the state machine of one replica. Times are monotonic, since the
// replica started. It is not safe for concurrent use.
type core struct {
	id string
	// incarnation sorts after that of every earlier process with the same id.
	incarnation string
	timing      timing
	shards      []shardView
	replicas    map[string]*replicaView

	beats     uint64
	beatAt    time.Duration // when the next heartbeat is due
	sentAt    map[uint64]time.Duration
	echoed    time.Duration // send time of the newest own heartbeat that the watch brought back
	hasEchoed bool
	// steady is since when own heartbeats have come back without a gap, the last
	// of them at echoAt. Silence before it says nothing of others.
	steady, echoAt time.Duration
	// beatEnd is the end of the lease by heartbeats alone. chain counts the
	// unbroken rows of heartbeats: it grows where one was stored too late.
	beatEnd time.Duration
	chain   uint64
	ready   bool // the watch has shown everything there was
	leaving bool
	// replacedBy is another incarnation that uses our id.
	replacedBy string
}

func newCore(id, incarnation string, shards int, t timing) *core {
	return &core{
		id: id, incarnation: incarnation, timing: t,
		shards:   make([]shardView, shards),
		replicas: make(map[string]*replicaView),
		sentAt:   make(map[uint64]time.Duration),
	}
}

// observe takes one entry of the watch, in the watch's order. It reports the
// shard that was lost by it, or -1.
func (c *core) observe(e *bridge.Entry, now time.Duration) int {
	if shard, ok := shardOf(e.Key); ok {
		return c.observeShard(shard, e)
	}
	id, ok := cutReplica(e.Key)
	if !ok {
		return -1
	}
	if e.Deleted {
		delete(c.replicas, id)
		return -1
	}
	var r beatRecord
	if json.Unmarshal(e.Value, &r) != nil {
		return -1 // not written by a replica; it has no heartbeat that could count
	}
	c.replicas[id] = &replicaView{beatRecord: r, seen: now}
	if id != c.id {
		return -1
	}
	if r.Incarnation != c.incarnation {
		// What was there before our own first heartbeat is our predecessor.
		if c.hasEchoed && r.Incarnation > c.incarnation {
			c.replacedBy = r.Incarnation
		}
		return -1
	}
	if sent, ok := c.sentAt[r.Beat]; ok {
		if !c.hasEchoed || now-c.echoAt > c.timing.lease {
			c.steady = now
		}
		c.echoAt = now
		c.echoed, c.hasEchoed = max(c.echoed, sent), true
		for b := range c.sentAt {
			if b <= r.Beat {
				delete(c.sentAt, b)
			}
		}
	}
	return -1
}

func (c *core) observeShard(shard int, e *bridge.Entry) int {
	if shard >= len(c.shards) {
		return -1
	}
	s := &c.shards[shard]
	if e.Revision <= s.revision {
		return -1 // our own write, already known by its answer, or older
	}
	var r ownerRecord
	if !e.Deleted && json.Unmarshal(e.Value, &r) != nil {
		r = ownerRecord{}
	}
	s.owner, s.incarnation, s.note, s.revision = r.Owner, r.Incarnation, r.Note, e.Revision
	if s.phase == claiming || c.mine(s) {
		return -1 // the answer to our own write tells
	}
	held := s.phase == owned || s.phase == leaving
	s.phase, s.unproven, s.proving = foreign, false, false
	if held {
		return shard
	}
	return -1
}

func (c *core) mine(s *shardView) bool { return s.owner == c.id && s.incarnation == c.incarnation }

// lease is the time until which the replica may act for its shards; 0 while
// one of them is in doubt.
func (c *core) lease() time.Duration {
	for i := range c.shards {
		if s := &c.shards[i]; s.unproven && s.phase != foreign {
			return 0
		}
	}
	return c.beatEnd
}

// alive lists the replicas that shards may be placed on, by what was seen up to
// the last heartbeat of our own that came back.
func (c *core) alive() []string {
	var ids []string
	for id, r := range c.replicas {
		if id == c.id || r.Leaving || c.isDead(r) {
			continue
		}
		ids = append(ids, id)
	}
	if !c.leaving {
		ids = append(ids, c.id)
	}
	return ids
}

// claimable reports whether nobody else can be acting for a shard: it is free,
// or its owner is dead or gone.
func (c *core) claimable(s *shardView) bool {
	if s.owner == "" {
		return true
	}
	r := c.replicas[s.owner]
	return r == nil || c.isDead(r)
}

func (c *core) isDead(r *replicaView) bool {
	return c.hasEchoed && max(r.seen, c.steady)+c.timing.dead <= c.echoed
}

// step says which writes are due at now, and which shards the app must hand
// over.
func (c *core) step(now time.Duration) (ops []op, handOver []int) {
	if now >= c.beatAt {
		ops = append(ops, c.nextBeat(now))
	}
	if !c.ready || !c.hasEchoed || c.replacedBy != "" {
		return ops, nil
	}
	if c.leaving {
		// Draining needs no bucket: what is in flight ends here.
		for i := range c.shards {
			if s := &c.shards[i]; s.phase == owned {
				s.phase = leaving
				handOver = append(handOver, i)
			}
		}
	}
	if now >= c.beatEnd {
		return ops, handOver // frozen
	}
	// A proof counts only after a heartbeat was stored: who has not seen that
	// heartbeat cannot have seen the proof, so a claim of theirs meets it.
	ops = append(ops, c.proofs()...)
	owners := make([]string, len(c.shards))
	alive := c.alive()
	for i := range c.shards {
		if s := &c.shards[i]; slices.Contains(alive, s.owner) {
			owners[i] = s.owner
		}
	}
	for i, to := range plan(owners, alive) {
		s := &c.shards[i]
		switch {
		case s.phase == foreign && !c.leaving && (s.owner == c.id || to == c.id && c.claimable(s)):
			// What stands under our id and is not held, an earlier process had, or
			// a claim's answer was lost: take it, even if only to hand it over.
			s.phase = claiming
			claim := c.write(opClaim, i, ownerRecord{Owner: c.id, Incarnation: c.incarnation})
			claim.note = s.note
			ops = append(ops, claim)
		case to != c.id && s.phase == owned:
			s.phase = leaving
			handOver = append(handOver, i)
		}
	}
	return ops, handOver
}

func (c *core) nextBeat(now time.Duration) op {
	c.beats++
	c.beatAt = now + c.timing.beat
	c.sentAt[c.beats] = now
	value := encode(beatRecord{Incarnation: c.incarnation, Beat: c.beats, Leaving: c.leaving})
	return op{kind: opBeat, value: value, sent: now}
}

func (c *core) write(kind opKind, shard int, r ownerRecord) op {
	return op{kind: kind, shard: shard, revision: c.shards[shard].revision, value: encode(r), chain: c.chain}
}

// proofs asks for a compare-and-set of every held shard that is in doubt.
func (c *core) proofs() []op {
	var ops []op
	for i := range c.shards {
		s := &c.shards[i]
		if (s.phase == owned || s.phase == leaving) && s.unproven && !s.proving {
			s.proving = true
			ops = append(ops, c.write(opProve, i, ownerRecord{Owner: c.id, Incarnation: c.incarnation}))
		}
	}
	return ops
}

// drained says that the app has handed a shard over, with a note for the next
// owner; the write that frees it follows. It reports false where the shard was
// lost meanwhile.
func (c *core) drained(shard int, note []byte) (op, bool) {
	s := &c.shards[shard]
	if s.phase != leaving {
		return op{}, false
	}
	s.phase = freeing
	return c.write(opRelease, shard, ownerRecord{Note: note}), true
}

// event is what the result of a write means for the app.
type event uint8

const (
	nothing event = iota
	gained        // the shard is ours: start it
	lost          // the shard is not ours any more: stop it at once
)

// done takes the answer to a write. A failure that is no conflict may have been
// carried out: the watch tells, so the shard is asked for again.
func (c *core) done(o op, revision uint64, err error, conflict bool, now time.Duration) event {
	if o.kind == opBeat {
		if err == nil {
			c.beaten(o.sent, now)
		}
		return nothing
	}
	s := &c.shards[o.shard]
	if err == nil && revision > s.revision {
		s.revision = revision
		s.owner, s.incarnation = c.id, c.incarnation
		if o.kind == opRelease {
			s.owner, s.incarnation = "", ""
		}
	}
	switch o.kind {
	case opClaim:
		if s.phase != claiming {
			return nothing
		}
		s.phase = foreign
		if c.mine(s) { // by the answer, or by the watch where the answer was lost
			s.phase = owned
			s.unproven = o.chain != c.chain
			return gained
		}
	case opProve:
		s.proving = false
		if err == nil {
			s.unproven = s.unproven && o.chain != c.chain
		} else if conflict && !c.mine(s) && s.phase != foreign {
			s.phase, s.unproven = foreign, false
			return lost
		}
	case opRelease:
		if s.phase != freeing {
			return nothing
		}
		switch {
		case err == nil, conflict, c.leaving && now >= c.beatEnd:
			// Where nothing can be stored, others will find this replica dead.
			s.phase = foreign
		default:
			s.phase = leaving // ask again
		}
	case opBeat:
	}
	return nothing
}

// beaten extends the lease by a heartbeat that was stored. Where the lease had
// run out before, every shard held is in doubt from here on.
func (c *core) beaten(sent, now time.Duration) {
	end := sent + c.timing.lease
	if end <= now || end <= c.beatEnd {
		return
	}
	if now >= c.beatEnd {
		c.chain++
		for i := range c.shards {
			if s := &c.shards[i]; s.phase == owned || s.phase == leaving {
				s.unproven = true
			}
		}
	}
	c.beatEnd = end
}
