package chatapi

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// readNow is Read that does not wait: where nothing has arrived it returns
// errNothing.
func (l *line) readNow(p []byte) (n int, err error) {
	failed := l.raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); !errors.Is(err, syscall.EINTR) {
				return true
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN):
		return 0, errNothing
	case err != nil:
		return 0, &net.OpError{
			Op: "read", Net: "tcp", Source: l.LocalAddr(), Addr: l.RemoteAddr(), Err: os.NewSyscallError("read", err),
		}
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
