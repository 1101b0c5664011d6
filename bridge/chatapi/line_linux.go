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
		return 0, l.fault("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// writeNow writes what the system takes at once.
func (l *line) writeNow(p []byte) (n int, err error) {
	failed := l.raw.Write(func(fd uintptr) bool {
		for {
			if n, err = syscall.Write(int(fd), p); !errors.Is(err, syscall.EINTR) {
				return true
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, l.fault("write", err)
	}
	return n, nil
}

// fault is what net makes of an error of the system.
func (l *line) fault(doing string, err error) error {
	return &net.OpError{Op: doing, Net: "tcp", Source: l.LocalAddr(), Addr: l.RemoteAddr(), Err: os.NewSyscallError(doing, err)}
}
