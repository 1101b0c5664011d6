package inbound

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

// flight is one Inbound on its way to the store.
type flight struct {
	session *Session
	in      *bridge.Inbound
	stream  stream
	record  bridge.Record
	values  [5]string // of headers, as many as used
	used    int
	span    trace.Span
	at      time.Time // the platform's own time of it, where it has one

	command *command // for a status of one of our commands

	// The session's mu guards the rest.
	ended bool
	// waiter takes the answer where Receive waits for it.
	waiter chan bridge.Stored
	// after were found to be stored already; their Ackers hear after this one's.
	after []*flight
}

// command is what a status says of the command that it is about.
type command struct {
	status   codec.Status
	callback codec.Callback
}

func (f *flight) msgID() string { return first(f.record.Header, headerMsgID) }

// done takes JetStream's answer. The store calls it, in the order of the puts.
func (f *flight) done(st bridge.Stored) {
	s := f.session
	s.mu.Lock()
	waiter := f.waiter
	f.waiter = nil
	s.mu.Unlock()
	if waiter != nil {
		waiter <- st // it has room for the one answer
	} else {
		f.finish(st, resultOf(st))
	}
	s.mu.Lock()
	f.ended = true
	if s.tail == f {
		s.tail = nil
	}
	after := f.after
	f.after = nil
	s.mu.Unlock()
	for _, repeat := range after {
		repeat.finish(bridge.Stored{}, found)
	}
}

// finish notes what became of f and tells its Acker.
func (f *flight) finish(st bridge.Stored, r result) {
	err := st.Err
	if f.in.Sequence > 0 {
		recv := st.Sequence
		if f.stream == streamDead {
			recv = 0 // that sequence is another stream's
		}
		f.session.mu.Lock()
		err = f.session.settle(f.in, recv, st.Err)
		f.session.mu.Unlock()
		f.session.land(f.in)
	}
	f.end(r, err)
}

// end closes the span, counts, and tells the Acker.
func (f *flight) end(r result, err error) {
	s := f.session
	s.env.Metrics.count(f.stream, r)
	if f.stream == streamRecv && r == stored && !f.at.IsZero() {
		s.env.Metrics.age(f.at)
	}
	endSpan(f.span, r)
	if r == tooLarge {
		s.env.Logger.Error("inbound not stored: the NATS server's max_payload is too small",
			slog.String("session", s.id), slog.String("subject", f.record.Subject),
			slog.Int("size", len(f.record.Body)))
	}
	codec.ReturnHeader(f.record.Header)
	f.record.Header = nil
	if f.in.Acker != nil {
		f.in.Acker.Stored(f.in, err)
	}
}
