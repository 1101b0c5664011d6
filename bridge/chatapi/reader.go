package chatapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// stalled is how long a wait for the host may take before answers count as
// held up by it.
const stalled = time.Second

// read reads what has arrived, until there is no more or the connection ends. It
// is the connection's only reader: it is called again once something arrives.
func (l *link) read() {
	for l.failure == nil {
		l.received(time.Now())
		begun, err := l.begun()
		if err == nil && !begun {
			if begun, err = l.env.poller.await(l); begun {
				return // it may be called again before this one has returned
			}
			if err == nil {
				err = net.ErrClosed
			}
		}
		if err != nil {
			l.failure = err
			break
		}
		l.failure = l.arrived()
	}
	close(l.done)
	l.kick()
}

// glance is read where nothing but pongs has arrived, as for most of the time of an
// idle link: it waits for nothing, and one goroutine does it for all links. It
// reports false where read is to be called.
func (l *link) glance() bool {
	for l.wire.more(false) {
		if !l.wire.pong() {
			return false
		}
		l.hear(time.Now())
	}
	awaited, err := l.env.poller.await(l)
	return awaited && err == nil
}

// begun reports whether a message has begun to arrive, or the end of the
// connection. Pings and pongs before it are dealt with. Where there is a poller,
// it waits for nothing but the end of what has begun.
func (l *link) begun() (bool, error) {
	for l.wire.more(l.env.poller == nil) {
		l.hear(time.Now())
		ping, data := l.wire.control()
		if data == nil {
			return true, nil
		}
		if !ping {
			continue
		}
		if err := l.conn.PingHandler()(string(data)); err != nil {
			return false, err
		}
	}
	return false, nil
}

// arrived reads the message that has begun to arrive and deals with it.
func (l *link) arrived() error {
	kind, r, err := l.conn.NextReader()
	if err != nil {
		return err
	}
	f, err := l.whole(kind, r)
	if err != nil {
		return err
	}
	return l.take(l.linked, &f)
}

// hear notes that the platform lives.
func (l *link) hear(now time.Time) { l.heard.Store(l.env.since(now)) }

// received notes the end of a wait for the host, and whether it was long. While
// that lasted nothing was read, so the platform was not silent.
func (l *link) received(now time.Time) {
	if since := l.receiving.Load(); since != 0 {
		l.hear(now)
		l.receiving.Store(0)
		if now.UnixNano()-since > int64(stalled) {
			l.excused.Store(now.UnixNano())
		}
	}
}

// take deals with one frame and releases it. An error ends the connection.
func (l *link) take(ctx context.Context, f *frame) error {
	if f.reason != "" {
		in := poison(f.data, f.reason)
		in.Size, in.SHA256 = f.size, f.sum
		f.release()
		return l.hand(ctx, in, framePoison, findSequence(in.Data))
	}
	event, err := codec.ParseEvent(f.data)
	if err != nil {
		in := poison(f.data, err.Error())
		f.release()
		return l.hand(ctx, in, framePoison, findSequence(in.Data))
	}
	kind, class := sort(event.Type)
	switch class {
	case frameResult:
		err = l.result(ctx, event.Data)
	case frameReady:
		var ended error
		if err, ended = l.readyAgain(event.Data); ended != nil {
			f.release()
			return ended
		}
	case framePoison:
		err = errors.New("an event of an unknown type")
	default:
	}
	sequence, unnumbered := codec.ParseSequence(event.Sequence)
	switch {
	case kind == 0: // not an event of the session's numbering
	case unnumbered != nil || sequence == 0:
		err = errors.New("an event without a sequence")
	case len(event.Data) == 0 || event.Data[0] != '{':
		err = errors.New("an event whose data is not a JSON object")
	}
	if err != nil {
		in := poison(f.data, err.Error())
		f.release()
		return l.hand(ctx, in, framePoison, sequence)
	}
	if kind == 0 {
		f.release()
		l.frames.in[class].Add(1)
		return nil
	}
	in := &bridge.Inbound{
		Kind: kind, Data: bytes.Clone(event.Data), ID: event.ID,
		TraceParent: event.TraceParent, TraceState: event.TraceState,
	}
	f.release()
	if event.Time != "" {
		// ParseEvent has checked its form.
		in.Time, _ = time.Parse(time.RFC3339, event.Time)
	}
	return l.hand(ctx, in, class, sequence)
}

// sort tells what an event's type stands for: kind is 0 where the host does not
// get it.
func sort(name string) (bridge.Kind, frameKind) {
	switch {
	case strings.HasPrefix(name, typeMessage):
		return bridge.KindMessage, frameMessage
	case name == typeResult:
		return 0, frameResult
	case strings.HasPrefix(name, typeStatus):
		return bridge.KindStatus, frameStatus
	case strings.HasPrefix(name, typeEvent):
		return bridge.KindEvent, frameEvent
	case name == typeReady:
		return 0, frameReady
	default:
		return 0, framePoison
	}
}

// poison is what could not be read, as it came.
func poison(data []byte, reason string) *bridge.Inbound {
	return &bridge.Inbound{Kind: bridge.KindPoison, Data: bytes.Clone(data), Reason: reason}
}

// hand gives one event to the host, in the order of their sequences. It blocks
// while the host does. Sequence 0 means that none could be read.
func (l *link) hand(ctx context.Context, in *bridge.Inbound, class frameKind, sequence uint64) error {
	l.frames.in[class].Add(1)
	if l.leaving.Load() {
		// Not taken, not acked: whoever has the session next gets it.
		return nil
	}
	n := l.numbers
	in.Epoch, in.Sequence, in.Acker = n.epoch, sequence, n
	if sequence > 0 {
		switch n.judge(sequence) {
		case skip:
			l.frames.repeated.Add(1)
			l.seen.Store(max(l.seen.Load(), sequence))
			l.ackable()
			return nil
		case again:
			return &fault{cause: causeGap, reason: "events are missing: having them sent again"}
		case leap:
			l.frames.gaps.Add(1)
			l.env.Logger.Warn("events stay missing", slog.String("session", l.id()),
				slog.Uint64("after", n.received), slog.Uint64("next", sequence))
		case pass, late:
		}
	}
	if sequence > 0 {
		l.seen.Store(max(l.seen.Load(), sequence)) // the host may store it before Receive returns
	}
	l.receiving.Store(time.Now().UnixNano())
	err := l.host.Receive(ctx, in)
	switch {
	case err == nil && sequence > 0:
		n.passed(sequence)
	case err != nil && !l.leaving.Load():
		return &fault{cause: causeStore, reason: "the event could not be handed on", err: err}
	}
	return nil
}

// result matches an answer with its send. An error says that it cannot be read.
func (l *link) result(ctx context.Context, data []byte) error {
	answer, err := codec.ParseSendResult(data)
	if err != nil {
		return err
	}
	s, widened := l.sends.answered(answer.Ref)
	if s == nil {
		l.frames.stray.Add(1)
		return nil
	}
	result := resultOf(&answer, s.out.Type)
	switch result.Class {
	case codec.Unauthorized:
		l.unauthorized.Store(true)
		l.kick()
	case codec.Denied:
		if l.sends.deny(answer.Error.Code) {
			l.denied.Store(true)
			l.kick()
		}
	default:
	}
	l.finish(ctx, s, result)
	if widened {
		l.host.Wake()
	}
	if l.leaving.Load() {
		l.kick()
	}
	return nil
}

// readyAgain takes the answer to a new token: wrong says that it cannot be
// read, ended that the connection is of no more use.
func (l *link) readyAgain(data []byte) (wrong, ended error) {
	ready, err := codec.ParseReady(data)
	switch {
	case err != nil:
		return err, nil
	case ready.Epoch != l.numbers.epoch:
		return nil, &fault{cause: causeProtocol, reason: "the platform began to number anew on a live connection"}
	}
	if err := l.granted(ready.Scopes); err != nil {
		return nil, err
	}
	l.ready.Add(1)
	l.sends.resize(min(ready.Window, widest))
	l.host.Wake()
	l.kick()
	return nil, nil
}
