package chatapi

import (
	"context"
	"fmt"
	"net"
	"syscall"
)

// line is the TCP connection below a socket, and below TLS where that is between
// them.
type line struct {
	*net.TCPConn
	raw syscall.RawConn
	// hasty has Read not wait; of the one who reads.
	hasty bool
}

// reach opens a line to address.
func reach(ctx context.Context, network, address string) (*line, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
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
