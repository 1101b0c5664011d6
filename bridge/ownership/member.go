package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"wabridge/bridge"
)

// ErrReplaced ends Run where another process uses the same replica id.
var ErrReplaced = errors.New("another process uses this replica id")

// Shards is what a Member tells of its shards. For one shard the calls never
// overlap.
type Shards interface {
	// Start takes a shard into service, with the note of an owner that handed it
	// over (JSON, or nil). It must not block for long; what fails is retried
	// inside.
	Start(shard int, note []byte)
	// HandOver drains a shard that another replica will take, and returns once
	// nothing of it is in flight, or ctx ended, with a note for the next owner.
	HandOver(ctx context.Context, shard int) []byte
	// Drop ends a shard that was lost: another replica may be at work on it.
	Drop(shard int)
}

// Config is what a Member needs. Beat, Lease and Dead default to 300 ms, 800 ms
// and 1 s: with them a killed replica's shards are claimed after 1.0 to 1.4 s.
type Config struct {
	Replica string // id, the same after a restart
	Count   int    // of shards
	KV      bridge.KV
	Shards  Shards
	Logger  *slog.Logger

	Beat, Lease, Dead time.Duration
	// HandOver bounds the draining of one shard. Default 10 s.
	HandOver time.Duration
}

// Member is one replica among those that share the bucket.
type Member struct {
	cfg   Config
	start time.Time
	// lease is the monotonic time, in ns since start, until which May holds.
	lease atomic.Int64

	mu    sync.Mutex
	core  *core
	wake  chan struct{}
	tasks sync.WaitGroup
	// failure is the last error of a heartbeat, nil while they are stored.
	failure error
}

// New checks the configuration and builds a Member; incarnation must sort after
// that of every earlier process with the same id.
func New(cfg Config, incarnation string) (*Member, error) {
	var faults []error
	if cfg.Replica == "" || !bridge.ValidID(cfg.Replica) {
		faults = append(faults, fmt.Errorf("replica id %q: want 1 to 64 letters, digits, _ or -", cfg.Replica))
	}
	if cfg.Count < 1 {
		faults = append(faults, fmt.Errorf("%d shards: want at least one", cfg.Count))
	}
	if cfg.KV == nil || cfg.Shards == nil || cfg.Logger == nil || incarnation == "" {
		faults = append(faults, errors.New("bucket, shards, logger and incarnation are needed"))
	}
	setDefault(&cfg.Beat, 300*time.Millisecond)
	setDefault(&cfg.Lease, 800*time.Millisecond)
	setDefault(&cfg.Dead, time.Second)
	setDefault(&cfg.HandOver, 10*time.Second)
	if cfg.Lease >= cfg.Dead || cfg.Beat*2 > cfg.Lease {
		faults = append(faults, errors.New("want twice the beat ≤ lease < dead"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Member{
		cfg:   cfg,
		start: time.Now(),
		core:  newCore(cfg.Replica, incarnation, cfg.Count, timing{cfg.Beat, cfg.Lease, cfg.Dead}),
		wake:  make(chan struct{}, 1),
	}, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// May reports whether this replica may act for its shards now. It is cheap and
// safe for concurrent use. What it allows may last as long as a process can be
// paused between the question and the act.
func (m *Member) May() bool { return int64(m.now()) < m.lease.Load() }

// Health is nil while heartbeats are stored.
func (m *Member) Health(context.Context) error {
	if m.May() {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return fmt.Errorf("no heartbeat stored for %v: %w", m.cfg.Lease, m.failure)
	}
	return errors.New("not yet, or no longer, a member among the replicas")
}

func (m *Member) now() time.Duration { return time.Since(m.start) }

// Run takes part until ctx ends; then it hands every shard over and returns. It
// returns ErrReplaced where another process uses the same id; its shards are
// dropped then.
func (m *Member) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer m.tasks.Wait()
	defer end()
	m.tasks.Go(func() { m.watch(life) })

	// Everything but a heartbeat follows from what was seen or answered.
	beat := time.NewTimer(0)
	defer beat.Stop()
	stop := ctx.Done()
	for {
		select {
		case <-stop:
			stop = nil
			m.leave()
		case <-beat.C:
		case <-m.wake:
		}
		replaced, next := m.step(life)
		beat.Reset(next)
		if replaced {
			m.dropAll()
			return ErrReplaced
		}
		if stop == nil && m.empty() {
			return m.forget(life)
		}
	}
}

// step carries out what the core asks for. It reports whether the member was
// replaced, and when the next heartbeat is due.
func (m *Member) step(ctx context.Context) (replaced bool, next time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	ops, handOver := m.core.step(now)
	m.publishLease()
	for _, o := range ops {
		m.tasks.Go(func() { m.write(ctx, o) })
	}
	for _, shard := range handOver {
		m.tasks.Go(func() { m.handOver(ctx, shard) })
	}
	return m.core.replacedBy != "", m.core.beatAt - now
}

func (m *Member) publishLease() { m.lease.Store(int64(m.core.lease())) }

func (m *Member) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.core.leaving = true
	m.core.beatAt = 0 // say so at once
}

// empty reports whether no shard is held any more.
func (m *Member) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.core.shards {
		if m.core.shards[i].phase != foreign {
			return false
		}
	}
	return true
}

func (m *Member) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// write carries out one op and tells the core. A heartbeat waits no longer than
// it can be of use.
func (m *Member) write(ctx context.Context, o op) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Dead)
	defer cancel()
	var revision uint64
	var err error
	switch {
	case o.kind == opBeat:
		revision, err = m.cfg.KV.Put(ctx, replicaKey(m.cfg.Replica), o.value)
	case o.revision == 0:
		revision, err = m.cfg.KV.Create(ctx, shardKey(o.shard), o.value)
	default:
		revision, err = m.cfg.KV.Update(ctx, shardKey(o.shard), o.value, o.revision)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.kind == opBeat {
		m.failure = err
	}
	m.tell(o.shard, m.core.done(o, revision, err, errors.Is(err, bridge.ErrConflict), m.now()), o.note)
	m.publishLease()
	m.nudge()
}

// tell passes an event on; mu is held, so that for one shard calls keep their
// order.
func (m *Member) tell(shard int, e event, note []byte) {
	switch e {
	case gained:
		m.cfg.Logger.Debug("shard gained", "shard", shard)
		m.cfg.Shards.Start(shard, note)
	case lost:
		m.cfg.Logger.Warn("shard lost", "shard", shard)
		m.cfg.Shards.Drop(shard)
	case nothing:
	}
}

// handOver drains a shard and frees it. The draining is bounded; the release is
// asked for until it is stored, or the shard is lost.
func (m *Member) handOver(ctx context.Context, shard int) {
	note := m.drain(ctx, shard)
	for {
		m.mu.Lock()
		o, ok := m.core.drained(shard, note)
		m.mu.Unlock()
		if !ok {
			return
		}
		m.write(ctx, o)
		select {
		case <-ctx.Done():
			return
		case <-time.After(m.cfg.Beat / 6): // a bucket that is away refuses at once
		}
	}
}

func (m *Member) drain(ctx context.Context, shard int) []byte {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.HandOver)
	defer cancel()
	return m.cfg.Shards.HandOver(ctx, shard)
}

// forget takes the replica's own record away, so that nobody waits for it.
func (m *Member) forget(ctx context.Context) error {
	m.lease.Store(0)
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Dead)
	defer cancel()
	if err := m.cfg.KV.Delete(ctx, replicaKey(m.cfg.Replica)); err != nil {
		m.cfg.Logger.Debug("leaving without a word: others find this replica dead", "error", err)
	}
	return nil
}

func (m *Member) dropAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lease.Store(0)
	for i := range m.core.shards {
		s := &m.core.shards[i]
		held := s.phase == owned || s.phase == leaving
		s.phase = foreign // a claim that is on its way gains nothing any more
		if held {
			m.cfg.Shards.Drop(i)
		}
	}
}

// watch feeds the core until ctx ends; a watch that fails is begun again.
func (m *Member) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := m.cfg.KV.Watch(ctx, func(e *bridge.Entry) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if e == nil {
				m.core.ready = true
			} else if shard := m.core.observe(e, m.now()); shard >= 0 {
				m.tell(shard, lost, nil)
			}
			m.publishLease()
			m.nudge()
		})
		if ctx.Err() != nil {
			return
		}
		m.cfg.Logger.Warn("watching the replicas failed; beginning again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(m.cfg.Beat):
		}
	}
}
