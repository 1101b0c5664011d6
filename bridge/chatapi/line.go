package chatapi

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// line is the TCP connection below a socket, and below TLS where that is between
// them.
type line struct {
	*net.TCPConn
	raw syscall.RawConn
	// hasty has Read not wait; of the one who reads.
	hasty bool
	// writeBy is the deadline of a write that has to wait, in Unix nanoseconds; 0:
	// none.
	writeBy atomic.Int64
}

// dialer has the system send no probes: pings do.
var dialer = net.Dialer{KeepAlive: -1} //nolint:gochecknoglobals // a constant

// reach opens a line to address.
func reach(ctx context.Context, network, address string) (*line, error) {
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("network %s: want tcp", network)
	}
	return newLine(tcp)
}

// newLine makes a line of a connection, which it closes where it fails.
func newLine(conn *net.TCPConn) (*line, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		abandon(conn)
		return nil, err
	}
	return &line{TCPConn: conn, raw: raw}, nil
}

// Read implements net.Conn.
func (l *line) Read(p []byte) (int, error) {
	if l.hasty {
		return l.readNow(p)
	}
	return l.TCPConn.Read(p)
}

// SetWriteDeadline implements net.Conn. The deadline takes effect on a Write that
// begins after it.
func (l *line) SetWriteDeadline(t time.Time) error {
	by := int64(0)
	if !t.IsZero() {
		by = t.UnixNano()
	}
	l.writeBy.Store(by)
	return nil
}

// Write implements net.Conn. Nearly always the system has room for what is
// written, and no deadline is needed: to set one costs as much as a small write.
func (l *line) Write(p []byte) (int, error) {
	n, err := l.writeNow(p)
	if err != nil || n == len(p) {
		return n, err
	}
	if by := l.writeBy.Load(); by != 0 {
		if err := l.TCPConn.SetWriteDeadline(time.Unix(0, by)); err != nil {
			return n, err
		}
	}
	m, err := l.TCPConn.Write(p[n:])
	if err == nil {
		err = l.TCPConn.SetWriteDeadline(time.Time{})
	}
	return n + m, err
}

// errNothing: nothing has arrived. TLS takes an error that is temporary for no
// end of the connection.
var errNothing net.Error = nothing{}

// nothing is the type of errNothing.
type nothing struct{}

// Error implements error.
func (nothing) Error() string { return "nothing has arrived" }

// Timeout implements net.Error.
func (nothing) Timeout() bool { return false }

// Temporary implements net.Error.
func (nothing) Temporary() bool { return true }
