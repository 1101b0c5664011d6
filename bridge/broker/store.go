package broker

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"wabridge/bridge"
)

// Store keeps the order of one session's records on their way into JetStream;
// it is a bridge.Store. Records are published one behind the other without
// waiting. On the first failure it stops, waits for everything in flight,
// stores the first that failed alone, for as long as that takes, and goes on
// from there; Nats-Msg-Id makes what is published twice stored once.
//
// Where the stream has more than one copy, one publish is in flight at a time: a
// leader that falls leaves records unanswered while the next leader takes later
// ones. It is a batch of all that waits, where the stream takes batches, and one
// record where not. One record at a time it is also for a while after JetStream
// refused one. An answer to an earlier try of a record counts like one to the
// last.
//
// What is in flight was published on one connection: what follows waits until it
// is given up, where another connection is in place. See line.
//
// What can still reorder: JetStream refuses a record (its storage is full) and
// takes one that was in flight behind it.
//
// An idle Store has no goroutine and no timer.
type Store struct {
	broker  *Broker
	session string
	id      uint64 // in the subject of answers

	mu      sync.Mutex
	queue   []entry // in the order of Put; the first is not stored yet
	array   []entry // that queue is in
	first   uint64  // the number of the first
	next    int     // of queue: what is published next
	bytes   int     // of queue
	flying  int     // published and neither answered nor given up
	line    uint64  // the connection that what is flying was published on
	phase   phase
	tries   int       // of the first, alone
	stalled bool      // counted among those who wait for JetStream
	retryAt time.Time // when the first is tried again
	careful time.Time // one at a time until then
	timer   *time.Timer
	due     time.Time // when timer fires; zero while it is stopped

	limit   int // the most records of the next batch
	batches uint64
	try     batchTry

	ready      []finished // stored, Done not called yet
	spare      []finished
	delivering bool // someone calls Done; there is one at a time
	room       signal
	closed     bool
	quiet      signal // for Close: closed, empty, and no Done is being called
}

// phase is what the store does about its queue.
type phase uint8

const (
	flowing phase = iota // publish whatever comes
	halting              // a record failed: wait for what is in flight
	alone                // store the first by itself
)

// entry is one record in the queue.
type entry struct {
	record *bridge.Record
	size   int
	state  entryState
	sent   time.Time
	result bridge.Stored
}

type entryState uint8

const (
	waiting entryState = iota
	flying
	settled
)

// finished is an entry that left the queue.
type finished struct {
	done   func(bridge.Stored)
	result bridge.Stored
}

// NewStore returns the store of a session. Close gives it back.
func (b *Broker) NewStore(session string) *Store {
	s := &Store{broker: b, session: session, limit: batchRecords}
	s.id = b.answers.add(s)
	return s
}

// Put takes a record into the order. It blocks while Config.MaxRecords or
// MaxBytes are unanswered, until ctx ends or the store is closed.
func (s *Store) Put(ctx context.Context, r *bridge.Record) error {
	if r.Subject == "" || strings.ContainsAny(r.Subject, " \t\r\n*>") {
		return fmt.Errorf("storing a record: %q is no subject to publish on", r.Subject)
	}
	size := recordSize(r)
	s.mu.Lock()
	for !s.closed && s.full(size) {
		room := s.room.wait()
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("waiting for room to store a record: %w", ctx.Err())
		}
		s.mu.Lock()
	}
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("storing a record: %w", bridge.ErrClosed)
	}
	s.push(entry{record: r, size: size})
	s.bytes += size
	s.advance() //nolint:contextcheck // metrics of the store outlive the caller's context
	s.unlock()
	return nil
}

func (s *Store) full(size int) bool {
	c := &s.broker.config
	return len(s.queue) >= c.MaxRecords || len(s.queue) > 0 && s.bytes+size > c.MaxBytes
}

// makeRoom wakes who waits in Put once a good part of the queue is free: to
// wake for every record would cost a switch of goroutines each.
func (s *Store) makeRoom() {
	c := &s.broker.config
	if len(s.queue) == 0 || len(s.queue) <= c.MaxRecords*3/4 && s.bytes <= c.MaxBytes*3/4 {
		s.room.broadcast()
	}
}

// unlock calls Done for what is ready, in order and without the lock, and
// unlocks.
func (s *Store) unlock() {
	for !s.delivering && len(s.ready) > 0 {
		batch := s.ready
		s.ready, s.spare = s.spare, nil
		s.delivering = true
		s.mu.Unlock()
		for _, f := range batch {
			if f.done != nil {
				f.done(f.result)
			}
		}
		clear(batch)
		s.mu.Lock()
		s.spare = batch[:0]
		s.delivering = false
	}
	if len(s.queue) == 0 && !s.delivering {
		if cap(s.ready)+cap(s.spare) > leastQueue {
			s.ready, s.spare = nil, nil // the rush is over
		}
		if s.closed {
			s.quiet.broadcast()
		}
	}
	s.mu.Unlock()
}

// Close takes no more records, waits until those it has are stored or ctx
// ends, and then ends the rest with bridge.ErrClosed. Every Done has been
// called when it returns, so Done must not call it. Closing twice is no error.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.room.broadcast()
	quiet := s.quiet.wait() // before unlock, which broadcasts where it is so already
	s.unlock()
	var err error
	select {
	case <-quiet:
	case <-ctx.Done():
		if n := s.abandon(); n > 0 { //nolint:contextcheck // ctx has ended
			err = fmt.Errorf("closing the store of session %s with %d records unanswered: %w", s.session, n, ctx.Err())
		}
		<-quiet
	}
	s.broker.answers.remove(s.id)
	s.mu.Lock()
	s.stopTimer()
	s.mu.Unlock()
	return err
}

// abandon ends what is left in the queue.
func (s *Store) abandon() int {
	s.mu.Lock()
	n := len(s.queue)
	for i := range s.queue {
		if s.queue[i].state != settled {
			s.queue[i].settle(bridge.Stored{Err: bridge.ErrClosed})
		}
	}
	s.flying = 0
	s.advance()
	s.unlock()
	return n
}

// entry is record n, or nil where it is not in the queue.
func (s *Store) entry(n uint64) *entry {
	if n < s.first || n-s.first >= uint64(len(s.queue)) {
		return nil
	}
	return &s.queue[n-s.first]
}

func (e *entry) settle(result bridge.Stored) {
	e.state = settled
	e.result = result
}

// recordSize is about what a record holds in memory and on the wire.
func recordSize(r *bridge.Record) int {
	size := len(r.Subject) + len(r.Body)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + 4
		}
	}
	return size
}
