package chatapi

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

const (
	// lastWords is how long to wait for the peer's close frame.
	lastWords = time.Second
	// widest bounds the window that a platform can grant.
	widest = 4096
)

// link is one connection of a session, from the platform's first frame on.
type link struct {
	*Session
	conn    *websocket.Conn
	wire    *socket // below conn
	numbers *numbering
	window  int
	frames  *counts

	// Between reader, writer and those who store.
	seen    atomic.Uint64 // the highest sequence that came on this connection
	acked   atomic.Uint64 // the highest that was acked on it
	quiet   atomic.Bool   // no ack is due: the next event that may be acked says so
	leaving atomic.Bool   // the session ends: take no more events
	// receiving is when the reader gave the host what it is still waiting to
	// give, in Unix nanoseconds; excused is when such a wait last held up the
	// reading of answers.
	receiving, excused atomic.Int64
	heard              atomic.Int64  // when something last arrived; see Env.since
	ready              atomic.Uint64 // session.ready frames seen after the first
	unauthorized       atomic.Bool   // a send was refused for its token
	denied             atomic.Bool   // a send was refused because the account may not send
	renewal            atomic.Pointer[renewal]
	renew              sync.WaitGroup
	done               chan struct{} // the reader has ended, with failure
	failure            error
	watch              watch
	sits               seat

	// Of the writer.
	access string // the token that it has
	writer
}

// connect opens a connection and waits for the platform's first frame. A
// failure is a *fault or a WebSocket close.
func (s *Session) connect(ctx context.Context, token auth.Token) (*link, error) {
	deadline := time.Now().Add(s.env.Handshake)
	conn, wire, err := s.dial(ctx, token.AccessToken)
	if err != nil {
		return nil, err
	}
	// A ctx that ends must not have to wait for a silent platform.
	stop := context.AfterFunc(ctx, func() { abandon(conn) })
	l, err := s.greet(ctx, conn, wire, token, deadline)
	if !stop() && err == nil {
		err = &fault{cause: causeLost, reason: "stopped while connecting", err: ctx.Err()}
	}
	if err != nil {
		s.farewell(conn, err)
		abandon(conn)
		return nil, err
	}
	return l, nil
}

// farewell tells the platform why the connection ends, where it can be told.
func (s *Session) farewell(conn *websocket.Conn, err error) {
	code := closeCode(err)
	if code == 0 {
		return
	}
	message := websocket.FormatCloseMessage(code, "")
	if err := conn.WriteControl(websocket.CloseMessage, message, time.Now().Add(lastWords)); err != nil {
		s.env.Logger.Debug("closing the connection", "session", s.id(), "error", lost("close frame not sent", err).Error())
	}
}

// abandon closes a connection that is of no more use.
func abandon(conn io.Closer) {
	// An error says that it is closed already.
	_ = conn.Close()
}

// greet reads session.ready and finds out where the events go on.
func (s *Session) greet(ctx context.Context, conn *websocket.Conn, wire *socket, token auth.Token, deadline time.Time) (*link, error) {
	l := &link{Session: s, conn: conn, wire: wire, access: token.AccessToken, frames: s.env.Metrics.counts(), done: make(chan struct{})}
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, lost("connection lost", err)
	}
	ready, err := l.first()
	if err != nil {
		return nil, err
	}
	// From here on the writer finds out that the platform is silent.
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, lost("connection lost", err)
	}
	if err := s.granted(ready.Scopes); err != nil {
		return nil, err
	}
	l.window = min(ready.Window, widest)
	if s.numbers == nil || s.numbers.epoch != ready.Epoch || s.numbers.broken.Load() {
		// It may take longer than the platform waits. The next connection then
		// finds it done.
		position, err := s.host.Position(ctx, ready.Epoch)
		if err != nil {
			return nil, &fault{cause: causeStore, reason: "finding what is stored", err: err}
		}
		s.numbers = newNumbering(ready.Epoch, position)
	}
	l.numbers = s.numbers
	l.renewAt = auth.RenewAt(token)
	l.quiet.Store(true)
	l.numbers.link.Store(l)
	return l, nil
}

// first reads the frame that has to be session.ready.
func (l *link) first() (codec.Ready, error) {
	kind, r, err := l.conn.NextReader()
	if err != nil {
		return codec.Ready{}, err
	}
	f, err := l.whole(kind, r)
	if err != nil {
		return codec.Ready{}, err
	}
	defer f.release()
	wrong := &fault{cause: causeProtocol, reason: "the platform's first frame is not " + typeReady}
	if f.reason != "" {
		return codec.Ready{}, wrong
	}
	event, err := codec.ParseEvent(f.data)
	if err != nil || event.Type != typeReady {
		return codec.Ready{}, wrong
	}
	ready, err := codec.ParseReady(event.Data)
	if err != nil {
		return codec.Ready{}, &fault{cause: causeProtocol, reason: "the platform's first frame", err: err}
	}
	l.frames.in[frameReady].Add(1)
	return ready, nil
}

// run begins to serve the connection. When that has ended every send is done, and
// seek is called.
//
// What arrives is read by read; what is to be written is written by turns of the
// writer. Between these an idle link has no goroutine.
func (l *link) run() {
	l.linked, l.cancel = context.WithCancel(l.env.base)
	l.conn.SetPongHandler(func(string) error { l.hear(time.Now()); return nil })
	l.begin(time.Now())
	l.link.Store(l)
	go l.read()
	l.turn()
}

// end closes the connection, settles what is left, and has the session seek
// another.
func (l *link) end(err error) {
	lasted := time.Since(l.began)
	l.settle(l.linked, l.sends.shut(), bridge.Result{Class: codec.Transient, Reason: "the connection ended before it was sent"})
	err = l.close(err)
	l.cancel()
	if p := l.env.poller; p != nil && p.forget(l) {
		l.failure = net.ErrClosed
		close(l.done)
	}
	abandon(l.conn)
	<-l.done
	l.renew.Wait()
	l.numbers.link.CompareAndSwap(l, nil)
	l.link.CompareAndSwap(l, nil)
	f := readFault(err)
	l.settleUnanswered(l.linked, f)
	if f.cause == causeToken {
		l.refuse(l.access)
	}
	go l.seek(l.env.base, lasted, f)
}

// close ends the conversation and returns why it ended: where a write failed,
// the platform may have said that in a close frame which is still to be read.
func (l *link) close(err error) error {
	if errors.Is(err, errSilent) {
		return err
	}
	l.farewell(l.conn, err)
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-l.done:
		if _, closed := errors.AsType[*websocket.CloseError](l.failure); closed && closeCode(err) == 0 {
			return l.failure
		}
	case <-timer.C:
	}
	return err
}

// closeCode is what to tell the platform when a link ends for err; 0 where
// nothing can be told.
func closeCode(err error) int {
	f, ok := errors.AsType[*fault](err)
	switch {
	case !ok || f.cause == causeLost:
		return 0
	case f.cause == causeStopped:
		return websocket.CloseGoingAway
	case f.cause == causeProtocol:
		return websocket.CloseProtocolError
	default:
		return websocket.CloseNormalClosure
	}
}

// settleUnanswered ends what was written and not answered.
func (l *link) settleUnanswered(ctx context.Context, f *fault) {
	tooBig := f.cause == causeTooBig
	unanswered := l.sends.end(tooBig)
	if tooBig && len(unanswered) == 1 {
		l.settle(ctx, unanswered, bridge.Result{Class: codec.Invalid, Reason: "too big for the platform: it closed the connection with 1009"})
		return
	}
	l.settle(ctx, unanswered, bridge.Result{Class: codec.Unknown, Reason: "written and not answered: " + f.reason})
}

// settle ends sends that have been taken out of the table.
func (l *link) settle(ctx context.Context, batch []*send, result bridge.Result) {
	for _, s := range batch {
		l.finish(ctx, s, result)
	}
}
