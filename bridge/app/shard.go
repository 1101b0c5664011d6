package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/inbound"
	"wabridge/bridge/outbound"
)

// shard runs the sessions of one shard while this replica owns it, and gives
// each the commands that WA_SEND delivers for it.
type shard struct {
	n    int
	host *host
	log  *slog.Logger

	// sessions is replaced, never changed: deliver reads it without a lock.
	sessions atomic.Pointer[map[string]*session]
	orphans  *outbound.Orphans
	// settled is what WA_SEND may deliver again though it is settled, by session,
	// for those that do not run; see note. turn guards it, and while sessions start
	// beside each other, mu.
	settled map[string][]uint64
	// past is what is stored of the sessions that do not run; mu guards it.
	past map[string]inbound.Position
	// lost: another replica may be at work, so nothing is told of states any more.
	lost atomic.Bool
	over chan struct{} // closed once its life is over

	ctx    context.Context //nolint:containedctx // the shard's life, begun and ended by the ownership
	cancel context.CancelFunc
	begun  chan struct{} // closed once begin is over

	skips skips

	// turn is held by whoever starts or ends sessions or the consumer.
	turn     sync.Mutex
	consumer *broker.Consumer
	// mu orders the end of a session's wait among the orphans with deliveries.
	mu sync.Mutex

	saving sync.Mutex // held while positions are saved
	saved  saved
}

func newShard(n int, h *host, note []byte) *shard {
	ctx, cancel := context.WithCancel(context.Background())
	s := &shard{
		n: n, host: h, log: h.log.With("shard", n), ctx: ctx, cancel: cancel,
		orphans: h.newOrphans(), settled: readNote(note), begun: make(chan struct{}), over: make(chan struct{}),
	}
	s.sessions.Store(&map[string]*session{})
	return s
}

func (s *shard) all() map[string]*session { return *s.sessions.Load() }

func (s *shard) replace(change func(map[string]*session)) {
	next := maps.Clone(s.all())
	change(next)
	s.sessions.Store(&next)
}

// begin starts every session of the shard and then its consumer. It retries
// until that works or the shard ends.
func (s *shard) begin() {
	defer close(s.begun)
	s.turn.Lock()
	defer s.turn.Unlock()
	s.retry("starting a shard", s.open)
}

// starting bounds how many sessions of a shard are built at once: each waits for
// an answer of JetStream, and all shards of a replica may begin together.
const starting = 16

func (s *shard) open() error {
	found, err := s.host.recall.of(s.ctx, s.n)
	if err != nil {
		return err
	}
	if s.past == nil { // else it is tried again, and some sessions run
		s.past, s.saved.recv = found.Sessions, found.Recv
	}
	var starts errgroup.Group
	starts.SetLimit(starting)
	started := make(map[string]*session)
	for _, def := range s.host.definitions.ofShard(s.n, s.host.shards) {
		if _, running := s.all()[def.ID]; !running {
			enter := func(one *session) { started[def.ID] = one }
			starts.Go(func() error { return s.start(def, found.cursors[def.ID], enter) })
		}
	}
	err = starts.Wait()
	s.mu.Lock()
	s.replace(func(m map[string]*session) { maps.Copy(m, started) })
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.consume()
}

// start runs one session, which enter makes one of the shard's; turn is held.
// enter is called with mu held.
func (s *shard) start(def *bridge.Definition, cursor bridge.Entry, enter func(*session)) error {
	s.mu.Lock()
	from := beginning{
		settled: slices.Concat(s.settled[def.ID], s.settled[noSession], s.orphans.Settled()),
		stored:  s.past[def.ID], cursor: cursor,
	}
	s.mu.Unlock()
	one, err := s.host.newSession(s.ctx, def, from, s)
	if err != nil {
		return fmt.Errorf("starting session %s: %w", def.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.settled, def.ID)
	for _, d := range s.orphans.Claim(def.ID) {
		one.out.Deliver(d)
	}
	enter(one)
	delete(s.past, def.ID)
	one.start()
	return nil
}

// consume begins or begins again, in order from the ack floor; turn is held.
func (s *shard) consume() error {
	s.skips.restart()
	c, err := s.host.broker.Consume(s.ctx, s.n, s.deliver)
	if err != nil {
		return err
	}
	s.consumer = c
	s.prune(s.ctx)
	return nil
}

// deliver gives a command to its session. Deliveries of a shard never overlap.
func (s *shard) deliver(d *bridge.Delivery) {
	s.give(d)
	s.skipWhereUseful(d)
}

func (s *shard) give(d *bridge.Delivery) {
	if one := s.all()[d.Session]; one != nil {
		one.out.Deliver(d)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.all()[d.Session]; one != nil {
		one.out.Deliver(d)
		return
	}
	s.orphans.Deliver(d)
}

// patience is how long a delivery may wait for room in its session: one that has
// the shard to itself keeps nobody waiting, and is quicker without a backlog.
func (s *shard) patience() time.Duration {
	if len(s.all()) > 1 {
		return 0
	}
	return 50 * time.Millisecond
}

// redefine brings one session into line with its definition. A session that
// ends takes commands with it that it had not sent: once it has ended, the
// consumer begins again, so that they come again in order. Until then the other
// sessions of the shard go on, and what comes for this one is not taken.
func (s *shard) redefine(id string) {
	<-s.begun
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	def, exists := s.host.definitions.get(id)
	if old := s.all()[id]; old != nil {
		if exists && reflect.DeepEqual(old.def, def) {
			return // it began after the change
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.host.drain)
		defer cancel()
		old.close(ctx)
		s.stopConsumer(s.ctx)
		s.settled[id] = old.out.Settled()
		at, _ := old.in.Checkpoint()
		s.mu.Lock()
		s.past[id] = at
		s.replace(func(m map[string]*session) { delete(m, id) })
		s.mu.Unlock()
	}
	s.retry("defining a session again", func() error {
		if def, exists := s.host.definitions.get(id); exists && s.all()[id] == nil {
			cursor, err := s.host.recall.cursor(s.ctx, id)
			if err != nil {
				return err
			}
			enter := func(one *session) { s.replace(func(m map[string]*session) { m[id] = one }) }
			if err := s.start(def, cursor, enter); err != nil {
				return err
			}
		}
		if s.consumer == nil {
			return s.consume()
		}
		return nil
	})
}

// retry does something until it succeeds or the shard ends.
func (s *shard) retry(what string, f func() error) {
	for wait := 50 * time.Millisecond; s.ctx.Err() == nil; wait = min(2*wait, 2*time.Second) {
		err := f()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		s.log.Warn("trying again", "what", what, "error", err)
		select {
		case <-s.ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (s *shard) stopConsumer(ctx context.Context) {
	if s.consumer == nil {
		return
	}
	if err := s.consumer.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Warn("stopping a shard's consumer", "error", err)
	}
	s.consumer = nil
}

// end stops the shard: in order where ctx has time left, at once where it has
// not. It returns the note for the next owner.
func (s *shard) end(ctx context.Context) []byte {
	s.cancel()
	<-s.begun
	s.turn.Lock()
	defer s.turn.Unlock()
	s.stopConsumer(ctx)
	var ending sync.WaitGroup
	for _, one := range s.all() {
		ending.Go(func() { one.close(ctx) })
	}
	ending.Wait()
	if err := s.orphans.Close(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("rejecting commands of unknown sessions", "error", err)
	}
	s.prune(ctx) // a note holds no more than it must
	if reached, ok := s.host.fleet.reached(ctx); ok && s.past != nil {
		if err := s.savePositions(ctx, reached, 0); err != nil && ctx.Err() == nil {
			s.log.Warn("handing a shard over", "error", err)
		}
	}
	note := s.note()
	s.sessions.Store(&map[string]*session{})
	return note
}

// notedSequences bounds a note: beyond it the platform's own memory of refs
// absorbs what comes again.
const notedSequences = 10_000

// noSession is the key in a note for commands that were rejected because their
// session was unknown: it may be known when they come again.
const noSession = ""

// note lists, by session, the sequences that are settled and that WA_SEND may
// deliver again, as it begins again at the first that is not.
func (s *shard) note() []byte {
	settled := s.settled
	for id, one := range s.all() {
		settled[id] = one.out.Settled()
	}
	settled[noSession] = append(settled[noSession], s.orphans.Settled()...)
	total := 0
	maps.DeleteFunc(settled, func(_ string, list []uint64) bool {
		if len(list) == 0 || total+len(list) > notedSequences {
			return true
		}
		total += len(list)
		return false
	})
	if total == 0 {
		return nil
	}
	note, err := json.Marshal(settled)
	if err != nil { // strings and numbers
		panic(fmt.Sprintf("encoding a hand-over: %v", err))
	}
	return note
}

// readNote reads what note wrote. A note that cannot be read is none.
func readNote(note []byte) map[string][]uint64 {
	settled := make(map[string][]uint64)
	if len(note) > 0 && json.Unmarshal(note, &settled) != nil {
		return make(map[string][]uint64)
	}
	return settled
}

// prune lets the sessions forget what they remember as settled and WA_SEND will
// not deliver again.
func (s *shard) prune(ctx context.Context) {
	if len(s.all()) == 0 {
		return
	}
	floor, err := s.host.broker.AckFloor(ctx, s.n)
	if err != nil {
		s.log.Debug("reading a shard's ack floor", "error", err)
		return
	}
	for _, one := range s.all() {
		one.out.Prune(floor)
	}
	s.orphans.Prune(floor)
}
