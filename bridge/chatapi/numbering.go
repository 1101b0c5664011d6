package chatapi

import (
	"sync/atomic"

	"wabridge/bridge"
)

// numbering follows one epoch of a session's events, over as many connections
// as it lasts. It implements bridge.Acker.
type numbering struct {
	epoch string
	// received is the last sequence that was handed to the host or passed; used
	// by one reader at a time.
	received uint64
	// gap is the sequence that was missing when a connection was given up for
	// it; still missing on the next one, it is passed: it may be a frame that
	// cannot be read, its sequence included.
	gap uint64
	// passedOver is the last range of sequences that were missing and passed:
	// after the first and before the second. One of them that comes after all is
	// better late than lost.
	passedOver [2]uint64

	taken  atomic.Uint64 // the highest sequence that the host took
	stored atomic.Uint64 // the highest that is stored
	// broken says that the host gave up storing: what it took counts no more.
	broken atomic.Bool
	link   atomic.Pointer[link]
}

// newNumbering starts after position, which is stored.
func newNumbering(epoch string, position uint64) *numbering {
	n := &numbering{epoch: epoch, received: position}
	n.taken.Store(position)
	n.stored.Store(position)
	return n
}

// Stored implements bridge.Acker.
func (n *numbering) Stored(in *bridge.Inbound, err error) {
	if err != nil {
		n.broken.Store(true)
		if l := n.link.Load(); l != nil {
			l.kick() // where it ends, it waits no longer for what is taken
		}
		return
	}
	if in.Sequence <= n.stored.Load() {
		return // it was poison without a sequence
	}
	n.stored.Store(in.Sequence)
	if l := n.link.Load(); l != nil {
		l.ackable()
	}
}

// verdict is what to do with an event of some sequence.
type verdict uint8

const (
	pass  verdict = iota // hand it on
	skip                 // had already
	again                // events are missing: have the platform send again
	leap                 // they stay missing: hand it on, and count that
	late                 // it was passed over: hand it on after all
)

// judge decides about the event of sequence. The caller calls passed once the
// host has taken it.
func (n *numbering) judge(sequence uint64) verdict {
	switch missing := n.received + 1; {
	case sequence < missing:
		if n.passedOver[0] < sequence && sequence < n.passedOver[1] {
			return late
		}
		return skip
	case sequence == missing, n.received == 0:
		// Nothing is known to be stored of an epoch that is joined late.
		return pass
	case n.gap != missing:
		n.gap = missing
		return again
	default:
		n.passedOver = [2]uint64{n.received, sequence}
		return leap
	}
}

// passed notes that the host took the event of sequence.
func (n *numbering) passed(sequence uint64) {
	n.received = max(n.received, sequence)
	n.taken.Store(n.received)
}
