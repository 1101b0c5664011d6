package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

const (
	// answerWait is how long an answer may take before the record counts as
	// failed; a stream with copies is asked again sooner, since nothing else is in
	// flight there.
	answerWait           = 5 * time.Second
	answerWaitReplicated = time.Second
	// A record that failed alone is tried again after firstBackoff, doubling to
	// maxBackoff.
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = time.Second
	// While another try with its id is on its way to the copies it is tried again
	// sooner. After patientTries, some 0.5 s, that is trouble like any other.
	inProcessBackoff = 5 * time.Millisecond
	patientTries     = 7
	// carefulFor is how long one record at a time is in flight after JetStream
	// refused one: what refuses now and then (storage that is full while old
	// messages expire) would let later records pass earlier ones.
	carefulFor = 10 * time.Second

	// codeHeaderTooLarge: a stream with copies takes 64 KiB of headers at most.
	codeHeaderTooLarge jetstream.ErrorCode = 10097
)

var errNoAnswer = errors.New("JetStream does not answer")

// advance lets finished records leave the queue and does what the phase asks
// for. The caller holds the lock and gives it back with unlock.
func (s *Store) advance() {
	for s.step() {
	}
	s.arm()
}

// step reports whether it changed something that asks for another one.
func (s *Store) step() bool {
	left := s.leave()
	switch s.phase {
	case halting:
		if s.flying == 0 {
			s.phase, s.tries, s.retryAt = alone, 0, time.Time{}
			return true
		}
	case alone:
		if left || len(s.queue) == 0 {
			s.phase, s.next, s.tries = flowing, 0, 0
			if s.stalled {
				s.stalled = false
				s.broker.stalls.end()
			}
			return true
		}
		if s.queue[0].state == waiting && !time.Now().Before(s.retryAt) {
			return s.publish(0)
		}
	case flowing:
		for s.next < len(s.queue) && s.flying < s.window() {
			i := s.next
			s.next++
			if s.queue[i].state != waiting {
				continue
			}
			n := s.span(i)
			if n == 1 && s.publish(i) || n > 1 && s.publishBatch(i, n) {
				return true
			}
		}
	}
	return false
}

// leave takes the settled records off the front.
func (s *Store) leave() bool {
	n := 0
	for n < len(s.queue) && s.queue[n].state == settled {
		e := &s.queue[n]
		s.ready = append(s.ready, finished{done: e.record.Done, result: e.result})
		s.bytes -= e.size
		*e = entry{}
		n++
	}
	if n == 0 {
		return false
	}
	s.first += uint64(n)
	s.next = max(0, s.next-n)
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.drained()
	}
	s.makeRoom()
	return true
}

// window is how many records may be in flight before another is published: one
// where a later record could be taken while an earlier one is not.
func (s *Store) window() int {
	if s.broker.replicated.Load() {
		return 1
	}
	if !s.careful.IsZero() {
		if time.Now().Before(s.careful) {
			return 1
		}
		s.careful = time.Time{}
	}
	return s.broker.config.MaxRecords
}

// enter has what is published until line.leave go out on the connection that
// what is flying went out on, or gives an error where there is another one.
func (s *Store) enter() error {
	l := &s.broker.line
	number, ok := l.enter()
	switch {
	case !ok:
		return nats.ErrDisconnected
	case s.flying > 0 && s.line != number:
		l.leave()
		return nats.ErrDisconnected
	}
	s.line = number
	return nil
}

// publish sends one record and reports whether it came to an end at once.
func (s *Store) publish(i int) bool {
	e := &s.queue[i]
	err := s.enter()
	if err == nil {
		var buf [64]byte
		reply := s.broker.answers.reply(buf[:0], s.id, s.first+uint64(i))
		m, _ := s.broker.messages.Get().(*nats.Msg)
		if m == nil {
			m = &nats.Msg{}
		}
		m.Subject, m.Reply, m.Header, m.Data = e.record.Subject, string(reply), e.record.Header, e.record.Body
		err = s.broker.nc.PublishMsg(m) // it keeps nothing of it
		*m = nats.Msg{}
		s.broker.messages.Put(m)
		s.broker.line.leave()
	}
	switch {
	case err == nil:
		e.state, e.sent = flying, time.Now()
		s.flying++
		s.try = batchTry{}
		return false
	case errors.Is(err, nats.ErrMaxPayload):
		e.settle(bridge.Stored{Err: fmt.Errorf("%w of %d bytes", bridge.ErrTooLarge, s.broker.nc.MaxPayload())})
		return true
	default:
		s.fail(err)
		return s.phase == halting
	}
}

// fail notes that a record was not stored. It does not matter which one: the
// first of the queue is what is tried next.
func (s *Store) fail(err error) {
	s.broker.metrics.retries.Add(context.Background(), 1)
	backoff := firstBackoff
	// Someone else stores the same: it is over in a moment, and no trouble.
	soon := codeOf(err) == codeInProcess && s.tries < patientTries
	if soon {
		backoff = inProcessBackoff
	} else if !s.stalled {
		s.stalled = true
		s.broker.stalls.begin(err)
	}
	switch s.phase {
	case flowing:
		s.phase = halting
	case alone:
		backoff = min(backoff<<min(s.tries, 10), maxBackoff)
		s.retryAt = time.Now().Add(backoff/2 + rand.N(backoff))
		s.tries++
	case halting:
	}
}

// answered takes JetStream's answer to record n, whichever try it is to.
func (s *Store) answered(n uint64, a answer) {
	s.mu.Lock()
	defer s.unlock()
	e := s.entry(n)
	if e == nil || e.state == settled {
		return
	}
	was := e.state
	switch {
	case a.err == nil:
		s.took(n, a)
		if a.duplicate {
			s.limit = 1 // what follows may be as old
		} else {
			s.limit = min(2*s.limit, batchRecords)
		}
	case tooLarge(a.err):
		e.settle(bridge.Stored{Err: fmt.Errorf("%w: %w", bridge.ErrTooLarge, a.err)})
		if was == flying {
			s.flying--
		}
	case was == waiting:
		// A refusal of a try that was given up.
		return
	default:
		e.state = waiting
		s.flying--
		s.careful = time.Now().Add(carefulFor)
		s.fail(a.err)
	}
	s.advance()
}

// took notes that record n is stored.
func (s *Store) took(n uint64, a answer) {
	e := s.entry(n)
	if e == nil || e.state == settled {
		return
	}
	if e.state == flying {
		s.flying--
	}
	e.settle(bridge.Stored{Sequence: a.sequence, Duplicate: a.duplicate})
	s.broker.metrics.stored(e.record.Subject, time.Since(e.sent), a.duplicate)
}

func tooLarge(err error) bool {
	code := codeOf(err)
	return code == jetstream.JSErrCodeStreamMessageExceedsMaximum || code == codeHeaderTooLarge
}

// interrupted: the connection was lost, so nothing in flight will be answered.
func (s *Store) interrupted() {
	s.mu.Lock()
	defer s.unlock()
	s.giveUp(time.Time{}, nats.ErrDisconnected)
}

// giveUp ends the wait for what was published before the given moment, or for
// everything where it is zero.
func (s *Store) giveUp(before time.Time, err error) {
	given := false
	for i := range s.queue {
		e := &s.queue[i]
		if e.state == flying && (before.IsZero() || e.sent.Before(before)) {
			e.state = waiting
			s.flying--
			given = true
		}
	}
	if given {
		s.try = batchTry{}
		s.fail(err)
		s.advance()
	}
}

// retryNow: the connection is back.
func (s *Store) retryNow() {
	s.mu.Lock()
	defer s.unlock()
	s.retryAt = time.Time{}
	if s.phase == alone {
		s.advance()
	}
}

// arm sets the timer to when something is to be given up or tried again. It
// leaves a timer that fires sooner alone, so that a busy store does not set it
// for every record.
func (s *Store) arm() {
	var at time.Time
	switch {
	case len(s.queue) == 0:
		return
	case s.flying > 0:
		at = time.Now().Add(s.answerWait())
		if s.due.IsZero() {
			at = s.oldest().Add(s.answerWait())
		}
	case s.phase == alone:
		at = s.retryAt
	default:
		return
	}
	if !s.due.IsZero() && !s.due.After(at) {
		return
	}
	s.due = at
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(at), s.tick)
		return
	}
	s.timer.Reset(time.Until(at))
}

// oldest is when the first record in flight was published.
func (s *Store) oldest() time.Time {
	for i := range s.queue {
		if s.queue[i].state == flying {
			return s.queue[i].sent
		}
	}
	return time.Now()
}

func (s *Store) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

func (s *Store) answerWait() time.Duration {
	if s.broker.replicated.Load() {
		return answerWaitReplicated
	}
	return answerWait
}

func (s *Store) tick() {
	s.mu.Lock()
	defer s.unlock()
	s.due = time.Time{}
	s.giveUp(time.Now().Add(-s.answerWait()), errNoAnswer)
	s.advance()
	if len(s.queue) == 0 {
		s.timer = nil
	}
}

// stalls logs when stores begin to wait for JetStream and when the last one
// has ended, not for each store.
type stalls struct {
	log   *slog.Logger
	count atomic.Int64
}

func (w *stalls) begin(err error) {
	if w.count.Add(1) == 1 {
		w.log.Warn("storing waits for JetStream", slog.Any("error", err))
	}
}

func (w *stalls) end() {
	if w.count.Add(-1) == 0 {
		w.log.Info("storing goes on")
	}
}
