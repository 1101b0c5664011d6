package broker

import (
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"wabridge/bridge/bridgetest"
)

// lag is a way to a NATS server whose first connection can be made to lag: what
// goes in stays on the way, also after the client has left.
type lag struct {
	net.Listener
	target string

	mu     sync.Mutex
	moved  *sync.Cond
	held   bool
	waits  []byte // of the first connection, on the way
	ended  bool   // the client has left
	inside int    // all that came in on the first
}

func newLag(t *testing.T, s *bridgetest.Server) *lag {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	l := &lag{Listener: listener, target: u.Host}
	l.moved = sync.NewCond(&l.mu)
	var work sync.WaitGroup
	work.Go(func() {
		for first := true; ; first = false {
			client, err := listener.Accept()
			if err != nil {
				return // it is closed
			}
			server, err := net.Dial("tcp", l.target)
			if err != nil {
				t.Error(err)
				_ = client.Close()
				return
			}
			work.Go(func() { pass(client, server) })
			if !first {
				work.Go(func() { pass(server, client) })
				continue
			}
			work.Go(func() { l.take(client) })
			work.Go(func() { l.give(server) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close() // it is closed once
		work.Wait()
	})
	return l
}

// pass carries bytes until one side ends, and ends the other.
func pass(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			_ = to.Close() // the other way may have done so
			return
		}
	}
}

// take reads all that the client says on the first connection, at once.
func (l *lag) take(client net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := client.Read(buf)
		l.mu.Lock()
		l.waits = append(l.waits, buf[:n]...)
		l.inside += n
		l.ended = err != nil
		l.moved.Broadcast()
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// give passes it on, while it does not lag.
func (l *lag) give(server net.Conn) {
	defer server.Close() //nolint:errcheck // it may have failed
	for {
		l.mu.Lock()
		for l.held || len(l.waits) == 0 && !l.ended {
			l.moved.Wait()
		}
		next := l.waits
		l.waits = nil
		ended := l.ended && len(next) == 0
		l.mu.Unlock()
		if _, err := server.Write(next); err != nil || ended {
			return
		}
	}
}

func (l *lag) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	l.moved.Broadcast()
}

func (l *lag) came() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inside
}

func (l *lag) URL() string { return "nats://" + l.Addr().String() }

func TestStoreKeepsOrderWhereAConnectionIsReplacedAtOnce(t *testing.T) {
	s := bridgetest.NATS(t)
	way := newLag(t, s)
	b := open(t, way)
	store, r := b.NewStore("shop"), newRecorder()
	put := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			if err := store.Put(t.Context(), r.record("shop", n, make([]byte, 100))); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 1)
	bridgetest.Eventually(t, long, func() bool { return r.count() == 1 })
	way.hold(true)
	before := way.came()
	put(1, 6)
	bridgetest.Eventually(t, long, func() bool { return way.came() > before+5*100 }, "the client holds back")
	// The client tells late that the connection was lost.
	told := make(chan struct{})
	b.nc.SetDisconnectErrHandler(func(nc *nats.Conn, err error) {
		<-told
		b.disconnected(nc, err)
	})
	if err := b.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, long, func() bool { return b.nc.Stats().Reconnects == 1 && b.nc.IsConnected() }, "no other connection")
	put(6, 9)
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	// The server takes what was on the first connection.
	way.hold(false)
	close(told)
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.inOrder(t, 9)
	streamInOrder(t, s.JetStream(t), "shop", 9)
}

func TestLineBeginsOnlyWhileNothingIsPublished(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nobody connects any more
	var l line
	dial := func() error {
		conn, err := l.Dial("tcp", listener.Addr().String())
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	first, ok := l.enter()
	if !ok {
		t.Fatal("nobody can publish")
	}
	if err := dial(); !errors.Is(err, errLineBusy) {
		t.Errorf("a connection began while something was published: %v", err)
	}
	if _, ok := l.enter(); ok {
		t.Error("something is published while a connection is to begin")
	}
	l.leave()
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	second, ok := l.enter()
	if !ok || second != first+1 {
		t.Errorf("the connection behind %d is %d, %v", first, second, ok)
	}
	l.leave()
}
