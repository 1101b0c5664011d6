package bridgetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link is a TCP proxy between two parts: a network that fails on demand. It can
// cut its connections, hold what they carry, one way or both, and refuse new
// ones. Its methods are safe for concurrent use.
type Link struct {
	name     string
	listener net.Listener
	targets  []string // tried in turn

	up, down gate // towards the target, and back

	mu      sync.Mutex
	next    int
	pairs   map[*pair]struct{}
	refused bool
	work    sync.WaitGroup
}

// pair is one connection: both of its halves.
type pair struct {
	client, server net.Conn
	done           chan struct{}
	once           sync.Once
}

// gate lets bytes pass, or holds them.
type gate struct{ held atomic.Pointer[chan struct{}] }

func (g *gate) hold() {
	c := make(chan struct{})
	if old := g.held.Swap(&c); old != nil {
		close(*old)
	}
}

func (g *gate) release() {
	if old := g.held.Swap(nil); old != nil {
		close(*old)
	}
}

// pass waits while the gate holds; false where the connection ended first.
func (g *gate) pass(done <-chan struct{}) bool {
	for {
		c := g.held.Load()
		if c == nil {
			return true
		}
		select {
		case <-*c:
		case <-done:
			return false
		}
	}
}

// NewLink opens a link on a port of 127.0.0.1 that the kernel picks, towards the
// first of its targets (host:port, in turn) that takes a connection. The name is
// for people.
func NewLink(name string, targets ...string) (*Link, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening link %s: %w", name, err)
	}
	k := &Link{name: name, listener: l, targets: targets, pairs: map[*pair]struct{}{}}
	k.work.Go(k.accept)
	return k, nil
}

// Name is what NewLink was told.
func (l *Link) Name() string { return l.name }

// Addr is where the link listens, as host:port.
func (l *Link) Addr() string { return l.listener.Addr().String() }

func (l *Link) accept() {
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			l.work.Go(func() { l.join(conn) })
		}
	}
}

// join connects a client with the first target that takes it.
func (l *Link) join(client net.Conn) {
	l.mu.Lock()
	refused, first := l.refused, l.next
	l.next++
	l.mu.Unlock()
	if refused {
		reset(client)
		return
	}
	for i := range l.targets {
		server, err := net.DialTimeout("tcp", l.targets[(first+i)%len(l.targets)], 5*time.Second)
		if err == nil {
			l.carry(&pair{client: client, server: server, done: make(chan struct{})})
			return
		}
	}
	reset(client)
}

// room is how much a connection takes in while it is held, at most: a network
// holds little, and what sends into it is to notice.
const room = 64 << 10

func (l *Link) carry(p *pair) {
	for _, c := range []net.Conn{p.client, p.server} {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetReadBuffer(room) // it may be closed already
		}
	}
	l.mu.Lock()
	if l.refused {
		l.mu.Unlock()
		p.end()
		return
	}
	l.pairs[p] = struct{}{}
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(p.server, p.client, &l.up) })
	both.Go(func() { p.pump(p.client, p.server, &l.down) })
	both.Wait()
	p.end()
	l.mu.Lock()
	delete(l.pairs, p)
	l.mu.Unlock()
}

// pump carries bytes one way. An end is passed on as an end, a failure as a
// failure.
func (p *pair) pump(to, from net.Conn, g *gate) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !g.pass(p.done) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				p.end()
				return
			}
		}
		if err != nil {
			if !g.pass(p.done) {
				return
			}
			half, ok := to.(*net.TCPConn)
			if !ok || half.CloseWrite() != nil {
				p.end()
			}
			return
		}
	}
}

// end resets both halves.
func (p *pair) end() {
	p.once.Do(func() {
		close(p.done)
		reset(p.client)
		reset(p.server)
	})
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it may be closed already
	}
	_ = c.Close() // likewise
}

// Cut resets every connection; new ones are taken.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		p.end()
	}
}

// Refuse cuts every connection and takes no new one, until Heal.
func (l *Link) Refuse() {
	l.mu.Lock()
	l.refused = true
	l.mu.Unlock()
	l.Cut()
}

// HoldUp keeps everything from reaching the target, until Heal. The connections
// stay.
func (l *Link) HoldUp() { l.up.hold() }

// HoldDown keeps everything from coming back from the target, until Heal.
func (l *Link) HoldDown() { l.down.hold() }

// Heal lets everything pass again, what was held first.
func (l *Link) Heal() {
	l.up.release()
	l.down.release()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = false
}

// Close ends the link and its connections, and waits for them.
func (l *Link) Close() {
	_ = l.listener.Close() // it is closed once
	l.Refuse()
	l.Heal()
	l.work.Wait()
}
