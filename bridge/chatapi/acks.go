package chatapi

import (
	"strconv"
	"time"

	"wabridge/codec"
)

// ackBatch and ackDelay bound how many stored events, and for how long, an
// ack waits for more: acks are cumulative. After ackLull without one it does not
// wait: more is not to be expected, and a timer for each of many sessions that
// have an event now and then costs more than the ack.
const (
	ackBatch = 64
	ackDelay = 3 * time.Millisecond
	ackLull  = 100 * time.Millisecond
)

// stored is the sequence to ack: of what came on this connection, the highest
// up to which all is stored. What is stored and did not come is not acked: the
// platform sends it again first.
func (l *link) stored() uint64 { return min(l.numbers.stored.Load(), l.seen.Load()) }

// ackable hears that stored may have grown. It gives the writer a turn for the
// first event and for every full batch, not for each.
func (l *link) ackable() {
	stored, acked := l.stored(), l.acked.Load()
	if stored <= acked {
		return
	}
	if l.quiet.CompareAndSwap(true, false) || stored-acked >= ackBatch || l.leaving.Load() {
		l.kick()
	}
}

// dueAck acks what is stored, once that is much or has waited.
func (l *link) dueAck(now time.Time) error {
	stored := l.stored()
	switch acked := l.acked.Load(); {
	case stored <= acked:
		return nil
	case stored-acked < ackBatch && l.ackAt.IsZero() && now.Sub(l.ackedAt) < ackLull:
		l.ackAt = now.Add(ackDelay)
		return nil
	case stored-acked < ackBatch && l.ackAt.After(now):
		return nil
	}
	if err := l.ack(now, stored); err != nil {
		return err
	}
	l.ackAt = time.Time{}
	l.quiet.Store(true)
	if l.stored() > stored {
		// It came between, and saw no quiet to break.
		l.quiet.Store(false)
		l.ackAt = now.Add(ackDelay)
	}
	return nil
}

// ack tells the platform what is stored.
func (l *link) ack(now time.Time, stored uint64) error {
	var data [64]byte
	event := codec.Event{
		ID: "ack-" + strconv.FormatUint(stored, 10), Type: typeAck,
		Data: codec.AppendAckData(data[:0], stored),
	}
	if err := l.writeEvent(now, &event, frameAck); err != nil {
		return err
	}
	l.acked.Store(stored)
	l.ackedAt = now
	return nil
}
