package chatapi

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/bridge"
	"wabridge/codec"
)

// writer writes, in turns: there is a goroutine only while there is something
// to do. What it keeps, nobody else may touch, but for state.
type writer struct {
	state  atomic.Uint32
	linked context.Context //nolint:containedctx // the connection's life, for all turns
	cancel context.CancelFunc
	began  time.Time

	batch []*send
	// When the next of each thing is due; zero where none is.
	pingAt, ackAt, renewAt, readyBy, leaveBy time.Time
	ackedAt                                  time.Time // the last ack
	readied                                  uint64    // session.ready frames accounted for
	renewing                                 bool
	timer                                    *time.Timer // of what is due before pingAt; nil: nothing was yet
	armed                                    time.Time   // when timer fires; zero where it has
}

// The states of a writer. It begins as one that has its turn, which run gives it.
const (
	turning uint32 = iota // a turn is under way
	kicked                // and there may be more to do when it is over
	resting
)

// kick has the writer look at everything that may be due, now or right after
// the turn that is under way. It does not block. After the last turn it does
// nothing.
func (l *link) kick() {
	if l.state.Swap(kicked) == resting {
		go l.turn()
	}
}

// visit implements guest: it is kick for a goroutine that has nothing else to do.
func (l *link) visit() {
	if l.state.Swap(kicked) == resting {
		l.turn()
	}
}

// seat implements guest.
func (l *link) seat() *seat { return &l.sits }

// turn does what is due until nothing is. Turns never overlap: they are the
// connection's only writer, control frames aside.
func (l *link) turn() {
	for {
		l.state.Store(turning)
		if err := l.work(); err != nil {
			l.env.rounds.leave(l)
			if l.timer != nil {
				l.timer.Stop()
			}
			l.end(err) // no state after this one is resting
			return
		}
		l.arm()
		if l.state.CompareAndSwap(turning, resting) {
			return
		}
	}
}

// work looks at what has happened and does what is due. An error ends the
// connection.
func (l *link) work() error {
	select {
	case <-l.done:
		return l.failure
	default:
	}
	if l.unauthorized.Load() {
		return errUnauthorized
	}
	if l.denied.Swap(false) {
		l.announce()
	}
	if l.resume.Swap(false) {
		l.resumed()
	}
	if r := l.renewal.Swap(nil); r != nil {
		if err := l.renewed(l.linked, r); err != nil {
			return err
		}
	}
	if l.stopping.Load() && l.leaveBy.IsZero() {
		l.leave(l.linked)
	}
	return l.due(l.linked)
}

// errUnauthorized: the platform refused a send for the token.
var errUnauthorized = &fault{cause: causeToken, reason: "the platform refused a send for its token"}

// errSilent: nothing arrived for as long as ReadIdle.
var errSilent = &fault{cause: causeLost, reason: "connection lost: the platform is silent"}

// begin prepares the first turn; see writer.
func (l *link) begin(now time.Time) {
	l.began = now
	l.hear(now)
	l.pingAt = l.env.rounds.join(l)
}

// leave begins the orderly end: no more sends, no more events.
func (l *link) leave(ctx context.Context) {
	l.leaveBy = time.Now().Add(l.env.CloseTimeout)
	l.leaving.Store(true)
	l.settle(ctx, l.sends.shut(), bridge.Result{Class: codec.Transient, Reason: "the session is stopping"})
}

// due does all that is due.
func (l *link) due(linked context.Context) error {
	now := time.Now()
	if err := l.writeSends(linked, now); err != nil {
		return err
	}
	if err := l.dueAck(now); err != nil {
		return err
	}
	if !l.pingAt.After(now) {
		l.pingAt = l.env.rounds.next(l.pingAt, now)
		if err := l.ping(now); err != nil {
			return err
		}
	}
	if !l.renewAt.IsZero() && !l.renewAt.After(now) && !l.renewing && l.leaveBy.IsZero() {
		l.startRenewal(linked)
	}
	if at := l.silentAt(); !at.IsZero() && !at.After(now) {
		return errSilent
	}
	if err := l.overdue(now); err != nil {
		return err
	}
	if !l.leaveBy.IsZero() && l.finished(now) {
		if stored := l.stored(); stored > l.acked.Load() {
			if err := l.ack(now, stored); err != nil {
				return err
			}
		}
		return &fault{cause: causeStopped, reason: "stopped"}
	}
	return nil
}

// ping writes one. Prepared, it is the same frame for all connections and costs no
// memory: its mask hides nothing, as a ping here has no payload.
func (l *link) ping(now time.Time) error {
	if err := l.conn.SetWriteDeadline(now.Add(l.env.WriteTimeout)); err != nil {
		return lost("pinging", err)
	}
	if err := l.conn.WritePreparedMessage(l.env.ping); err != nil {
		return lost("pinging", err)
	}
	return nil
}

// silentAt is when the platform has been silent for too long, unless something
// arrives; zero while the host is waited for, as nothing is read then.
func (l *link) silentAt() time.Time {
	if l.receiving.Load() != 0 {
		return time.Time{}
	}
	return l.env.born.Add(time.Duration(l.heard.Load()) + l.env.ReadIdle)
}

// finished reports whether nothing is in flight any more, or the time for it is
// over.
func (l *link) finished(now time.Time) bool {
	if !now.Before(l.leaveBy) {
		return true
	}
	settled := l.numbers.stored.Load() >= l.numbers.taken.Load() || l.numbers.broken.Load()
	return settled && l.sends.waiting().IsZero()
}

// overdue finds answers that have not come in time.
func (l *link) overdue(now time.Time) error {
	if n := l.ready.Load(); n != l.readied {
		l.readied, l.readyBy = n, time.Time{}
	}
	if since := l.receiving.Load(); since != 0 && now.UnixNano()-since > int64(stalled) {
		// Answers may lie behind an event that the host cannot take now.
		l.excused.Store(now.UnixNano())
	}
	if by := l.answerBy(l.sends.waiting()); !by.IsZero() && !by.After(now) {
		return &fault{cause: causeUnanswered, reason: "a send was not answered in " + l.env.AnswerTimeout.String()}
	}
	if !l.readyBy.IsZero() && !l.answerBy(l.readyBy).After(now) {
		return &fault{cause: causeUnanswered, reason: "a new token was not answered in " + l.env.AnswerTimeout.String()}
	}
	return nil
}

// answerBy is when what was written at written is overdue; zero for zero.
func (l *link) answerBy(written time.Time) time.Time {
	if written.IsZero() {
		return written
	}
	if excused := l.excused.Load(); excused > written.UnixNano() {
		written = time.Unix(0, excused)
	}
	return written.Add(l.env.AnswerTimeout)
}

// arm sets the timer to the next thing that is due, unless it is not due before
// the rounds come by. A timer that is set to fire sooner stays: it then finds
// nothing to do, which costs less than setting it again for each frame.
func (l *link) arm() {
	if !l.armed.IsZero() && !l.armed.After(time.Now()) {
		l.armed = time.Time{} // it has fired, or does now and finds nothing new
	}
	next := l.pingAt
	for _, at := range [...]time.Time{l.ackAt, l.leaveBy, l.silentAt(), l.answerBy(l.sends.waiting()), l.answerBy(l.readyBy)} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if !l.renewAt.IsZero() && !l.renewing && l.leaveBy.IsZero() && l.renewAt.Before(next) {
		next = l.renewAt
	}
	if !next.Before(l.pingAt) || !l.armed.IsZero() && !next.Before(l.armed) {
		return
	}
	l.armed = next
	if l.timer == nil {
		l.timer = time.AfterFunc(time.Until(next), l.visit)
		return
	}
	l.timer.Reset(time.Until(next))
}

// writeSends writes what is queued, all of it at once.
func (l *link) writeSends(linked context.Context, now time.Time) (err error) {
	l.batch = l.sends.take(l.batch[:0])
	switch len(l.batch) {
	case 0:
		return nil
	case 1:
	default:
		l.wire.hold()
		defer func() {
			if failed := l.wire.flush(now.Add(l.env.WriteTimeout)); failed != nil && err == nil {
				err = lost("writing", failed)
			}
		}()
	}
	for i, s := range l.batch {
		l.batch[i] = nil
		if err := l.writeSend(linked, s, now); err != nil {
			return err
		}
	}
	return nil
}

// writeSend writes one command.
func (l *link) writeSend(ctx context.Context, s *send, now time.Time) error {
	span, traceParent, traceState := l.startSpan(ctx, s.out)
	buffer, frame := l.encode(&codec.Event{
		ID: s.out.Ref, Type: typeSend, Data: s.out.Body,
		TraceParent: traceParent, TraceState: traceState,
	})
	defer release(buffer, frame)
	if len(frame) > codec.MaxFrame {
		l.sends.drop(s)
		s.span = span
		l.finish(ctx, s, bridge.Result{
			Class:  codec.Invalid,
			Reason: "too big for a frame: " + strconv.Itoa(len(frame)) + " bytes, at most " + strconv.Itoa(codec.MaxFrame),
		})
		return nil
	}
	l.sends.wrote(s, now, span)
	return l.writeFrame(now, frame, frameSend)
}

// writeEvent writes one event of the session's own.
func (l *link) writeEvent(now time.Time, event *codec.Event, kind frameKind) error {
	buffer, frame := l.encode(event)
	defer release(buffer, frame)
	return l.writeFrame(now, frame, kind)
}

// encode writes event into a borrowed buffer.
func (l *link) encode(event *codec.Event) (*[]byte, []byte) {
	event.Source = l.source
	buffer := borrow()
	return buffer, codec.AppendEvent((*buffer)[:0], event)
}

// writeFrame writes one frame.
func (l *link) writeFrame(now time.Time, frame []byte, kind frameKind) error {
	if err := l.conn.SetWriteDeadline(now.Add(l.env.WriteTimeout)); err != nil {
		return lost("writing", err)
	}
	if err := l.conn.WriteMessage(websocket.TextMessage, frame); err != nil {
		return lost("writing", err)
	}
	l.frames.out[kind].Add(1)
	return nil
}
