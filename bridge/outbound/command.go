package outbound

import (
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

// command is one delivery on its way to its outcome. What take fills in does
// not change afterwards; the rest belongs to the session's mutex.
type command struct {
	*codec.Command

	sequence uint64
	session  string
	stored   time.Time
	header   map[string][]string
	body     []byte
	ref      string
	callback string    // encoded
	deadline time.Time // zero: none
	taken    time.Time
	parent   parent // of the outcome: this command's own span, or the publisher's
	span     trace.Span

	settler bridge.Settler // nil: acked unread, the cursor covers it
	heard   time.Time      // when JetStream last heard that it is held
	passed  bool           // of one that was recalled: neither a delivery nor a read brings it again
	lane    *lane          // nil: it has no place in one
	next    *command       // in its lane
	out     bridge.Outgoing
	state   state

	attempts  int
	failures  int // in a row, for backoff
	throttles int
	// written: it may have reached the platform, so it is never called expired.
	written bool
	doubt   time.Time // unanswered: until then a status may resolve it
	sure    bool      // its doubt is over: it goes again
	// foreign: another process may have tried it; peeked: the ledger knows of no
	// such try.
	foreign, peeked bool
	revision        uint64 // of its entry in the ledger

	outcome outcome
	// put: the outcome is in the store's order.
	put atomic.Bool
}

type state uint8

const (
	isWaiting  state = iota // for its turn, in its lane
	isFlying                // the platform or the ledger has it
	isDoubtful              // written and never answered
	isDecided               // its outcome is known, or being stored
)

// outcome is the word on a command and what it rests on.
type outcome struct {
	word     string // codec.StatusAccepted …
	class    codec.Class
	id       string
	code     int
	title    string
	detail   string
	at       time.Time
	standing uint64 // the sequence of the outcome that came before this one
	// dead: the outcome is stored, the dead letter is next.
	dead bool
	// cut: the dead letter was too large whole.
	cut bool
}

func newCommand(d *bridge.Delivery, now time.Time) *command {
	return &command{
		sequence: d.Sequence,
		session:  d.Session,
		stored:   d.Stored,
		header:   d.Header,
		body:     d.Body,
		taken:    now,
		settler:  d.Settler,
		heard:    now,
		foreign:  d.Redelivered,
	}
}

// read makes a command of a delivery. One that cannot be sent is decided
// already.
func (s *Session) read(d *bridge.Delivery, now time.Time) *command {
	c := newCommand(d, now)
	c.written = c.foreign && s.ledger == nil // where there is a ledger, it knows
	err := c.decode(s.cfg.Names.SendStream(), s.cfg.Created)
	s.startSpan(c)
	if err == nil {
		c.callback, err = codec.Callback{
			TraceParent: c.parent.traceparent, Sequence: c.sequence, Ref: c.ref, Value: c.Callback,
		}.Encode()
	}
	if err != nil {
		c.refuse(err, now)
	}
	return c
}

// decode fills in what the delivery says. Where it cannot be read, the command
// has the ref that the stream gives it.
func (c *command) decode(stream string, created time.Time) error {
	decoded, err := codec.DecodeCommand(c.header, c.body)
	if err != nil {
		decoded = &codec.Command{}
		decoded.TraceParent = bridge.Carrier(c.header).Get("traceparent")
		decoded.TraceState = bridge.Carrier(c.header).Get("tracestate")
	}
	c.Command = decoded
	ref, refErr := codec.Ref(c.header, stream, created, c.sequence)
	if refErr != nil {
		// Its own is unfit: only the stream's is left, which cannot fail.
		ref, _ = codec.Ref(nil, stream, created, c.sequence)
	}
	c.ref = ref
	deadline, deadlineErr := codec.Deadline(c.header)
	c.deadline = deadline
	return errors.Join(err, refErr, deadlineErr)
}

func (c *command) refuse(err error, now time.Time) {
	c.state = isDecided
	c.outcome = outcome{
		word: codec.StatusRejected, class: codec.Invalid, title: "invalid command", detail: err.Error(), at: now,
	}
}

// to is the recipient as a report names it.
func (c *command) to() string {
	if c.Verb {
		return ""
	}
	return c.Conversation
}
