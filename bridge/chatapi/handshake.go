package chatapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const (
	// subprotocol is the CloudEvents WebSocket binding in JSON.
	subprotocol = "cloudevents.json"
	// readBuffer holds a frame's header; the socket reads ahead. writeBuffer holds
	// an ordinary frame, and is borrowed to write one.
	readBuffer  = 128
	writeBuffer = 4 << 10
)

// writeBuffers is what all connections borrow while they write.
var writeBuffers = &sync.Pool{} //nolint:gochecknoglobals // holds no state; 10,000 idle sessions share it

// dial opens the WebSocket, and returns the socket below it. A failure is a
// *fault.
func (s *Session) dial(ctx context.Context, token string) (*websocket.Conn, *socket, error) {
	ctx, span := s.env.tracer.Start(ctx, "connect whatsapp",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(s.attribute()))
	defer span.End()

	header := http.Header{"Authorization": {"Bearer " + token}}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	wire := &socket{}
	connect := func(ctx context.Context, network, address string) (net.Conn, error) {
		line, err := reach(ctx, network, address)
		if err != nil {
			return nil, err
		}
		wire.line, wire.Conn = line, line
		return wire, nil
	}
	target := target(s.url, s.id())
	dialer := websocket.Dialer{
		Proxy:          s.env.proxy,
		NetDialContext: connect,
		// TLS begins later, and below the socket: see secure.
		NetDialTLSContext: connect,
		HandshakeTimeout:  s.env.Handshake,
		ReadBufferSize:    readBuffer,
		WriteBufferSize:   writeBuffer,
		WriteBufferPool:   writeBuffers,
		Subprotocols:      []string{subprotocol},
		// Compression stays off: a read limit would not bound what a frame
		// inflates to.
	}
	conn, answer, err := dialer.DialContext(s.secure(ctx, target, wire), target, header) //nolint:bodyclose // it is a copy in memory
	wire.bounds.frames = true
	f := s.handshakeFault(conn, answer, err)
	if f == nil {
		return conn, wire, nil
	}
	if conn != nil {
		f.err = errors.Join(f.err, conn.Close())
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(string(f.cause)))
	span.SetStatus(codes.Error, f.reason)
	return nil, nil, f
}

// secure has the dialer, given the context that is returned, begin TLS where
// target asks for it: right before it writes the request, and after a proxy has
// connected it with the platform.
func (s *Session) secure(ctx context.Context, target string, wire *socket) context.Context {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "wss" {
		return ctx // the dialer says what is wrong with it
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		conn := tls.Client(wire.line, s.env.tlsOf(u.Hostname()))
		wire.Conn = conn
		// The request is written to conn, and meets the same error.
		_ = conn.HandshakeContext(ctx)
	}})
}

// handshakeFault sorts the answers to a handshake; nil means that it is done.
func (s *Session) handshakeFault(conn *websocket.Conn, answer *http.Response, err error) *fault {
	if err == nil {
		if conn.Subprotocol() != subprotocol {
			return &fault{cause: causeProtocol, reason: "the platform does not speak " + subprotocol}
		}
		return nil
	}
	if answer == nil || !errors.Is(err, websocket.ErrBadHandshake) {
		return lost("connecting failed", err)
	}
	status := answer.StatusCode
	text := "the platform answered " + strconv.Itoa(status) + " to the handshake"
	switch {
	case status == http.StatusUnauthorized:
		return &fault{cause: causeToken, reason: "the platform refused the token (401)"}
	case status == http.StatusForbidden:
		return &fault{cause: causeForbidden, reason: "the platform does not permit this session (403)"}
	case status == http.StatusNotFound:
		return &fault{cause: causeNoSession, reason: "the platform knows no such session (404)"}
	case status == http.StatusTooManyRequests:
		return &fault{cause: causeSlowDown, reason: text, wait: retryAfter(answer.Header.Get("Retry-After"), time.Now())}
	case status >= 300 && status < 400:
		return &fault{cause: causeHandshake, reason: text + "; the token is not taken elsewhere"}
	default:
		return &fault{cause: causeHandshake, reason: text, wait: retryAfter(answer.Header.Get("Retry-After"), time.Now())}
	}
}

// retryAfter reads the header of that name: seconds, or an HTTP date.
func retryAfter(value string, now time.Time) time.Duration {
	if wait := seconds(value); wait > 0 {
		return wait
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), longestWait)
}

// quotable reports whether err's text holds nothing that the peer wrote: errors
// of the system, of the network, of TLS certificates and of time-outs.
func quotable(err error) bool {
	if _, ok := errors.AsType[*os.SyscallError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed)
}
