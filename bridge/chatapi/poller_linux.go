package chatapi

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// poller tells links that something has arrived, so that none of them needs a
// goroutine to wait for it. All links of a process share one epoll instance, and
// one goroutine, which is there while links are.
type poller struct {
	mu    sync.Mutex
	file  *os.File // of the instance; nil while there are no links
	fd    int      // of file
	links int      // that are in it

	// armed are the links that wait, by the token that their event will bear. Each
	// wait has a token of its own: an event that is late, or of a descriptor that
	// is another connection's by now, finds nobody.
	armed map[uint64]*link
	last  uint64
}

// watch is a link's part in a poller, which guards it.
type watch struct {
	token       uint64
	added, gone bool
}

// newPoller returns a poller of no links.
func newPoller() *poller { return &poller{armed: make(map[uint64]*link)} }

// await has l read once there is something to read, which may be right now. It
// reports false, and does not, where l has been forgotten.
func (p *poller) await(l *link) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &l.watch
	if w.gone {
		return false, nil
	}
	if err := p.open(); err != nil {
		return false, err
	}
	operation := syscall.EPOLL_CTL_MOD
	if !w.added {
		operation = syscall.EPOLL_CTL_ADD
	}
	p.last++
	event := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT,
		Fd:     int32(p.last), Pad: int32(p.last >> 32), // its 64 bits of data
	}
	if err := p.control(l, operation, &event); err != nil {
		return false, err
	}
	if !w.added {
		w.added = true
		p.links++
	}
	w.token = p.last
	p.armed[w.token] = l
	return true, nil
}

// forget takes l out, before its connection is closed. It reports whether l
// waited: then it will not read any more; otherwise it is reading, and await
// will report false.
func (p *poller) forget(l *link) (waited bool) {
	waited, last := p.drop(l)
	if last != nil {
		// It ends wait, which it waits for: p.mu is not held. Nothing was written to it,
		// so an error says nothing.
		_ = last.Close()
	}
	return waited
}

// drop is forget, but for closing the instance that it returns.
func (p *poller) drop(l *link) (waited bool, last *os.File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &l.watch
	w.gone = true
	if !w.added {
		return false, nil
	}
	w.added = false
	_, waited = p.armed[w.token]
	delete(p.armed, w.token)
	// An error says that the descriptor is closed, and so out of it already.
	_ = p.control(l, syscall.EPOLL_CTL_DEL, &syscall.EpollEvent{})
	if p.links--; p.links == 0 {
		last, p.file = p.file, nil
	}
	return waited, last
}

// control changes what the instance knows of l. p.mu is held.
func (p *poller) control(l *link, operation int, event *syscall.EpollEvent) error {
	var failed error
	err := l.wire.line.raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(p.fd, operation, int(fd), event))
	})
	if err != nil {
		return err
	}
	return failed
}

// open makes the instance, where there is none. p.mu is held.
func (p *poller) open() error {
	if p.file != nil {
		return nil
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("waiting for connections: %w", os.NewSyscallError("epoll_create1", err))
	}
	// The runtime waits for the instance as it does for a connection; it asks that
	// of descriptors that do not block.
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return fmt.Errorf("waiting for connections: %w", os.NewSyscallError("fcntl", err))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // it fails where the runtime does not wait for file
	}
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("waiting for connections: %w", err)
	}
	p.file, p.fd = file, fd
	go p.wait(raw)
	return nil
}

// wait has links read that may, until the instance is closed.
func (p *poller) wait(raw syscall.RawConn) {
	events := make([]syscall.EpollEvent, 256)
	links := make([]*link, 0, len(events))
	// It always asks to be called again when the instance has become readable: what
	// has done so since is not lost, and what was readable before is taken.
	_ = raw.Read(func(fd uintptr) bool {
		for {
			n, err := syscall.EpollWait(int(fd), events, 0)
			links = p.fired(events[:max(n, 0)], links[:0])
			for i, l := range links {
				links[i] = nil
				if !l.glance() {
					go l.read()
				}
			}
			if n < len(events) && !errors.Is(err, syscall.EINTR) {
				return false
			}
		}
	})
}

// fired appends the links of these events, which wait no longer.
func (p *poller) fired(events []syscall.EpollEvent, links []*link) []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		token := uint64(uint32(events[i].Fd)) | uint64(uint32(events[i].Pad))<<32
		if l := p.armed[token]; l != nil {
			delete(p.armed, token)
			links = append(links, l)
		}
	}
	return links
}
