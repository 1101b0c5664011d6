package bridgetest

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Servers is a NATS cluster inside the test's process.
type Servers struct {
	Nodes []*Server
}

// Cluster starts n clustered servers with JetStream, waits until they have a
// leader, and stops them at the end of the test.
func Cluster(t testing.TB, n int, options ...Option) *Servers {
	t.Helper()
	listeners := make([]net.Listener, n)
	routes := make([]*url.URL, n)
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("picking a cluster port: %v", err)
		}
		listeners[i] = l
		routes[i] = &url.URL{Scheme: "nats", Host: l.Addr().String()}
	}
	c := &Servers{Nodes: make([]*Server, n)}
	for i, l := range listeners {
		o := serverOptions(t, options)
		o.ServerName = fmt.Sprintf("n%d", i+1)
		o.Routes = routes
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
		c.Nodes[i] = &Server{opts: o}
		t.Cleanup(c.Nodes[i].Stop)
		// The port is held until its server takes it.
		if err := l.Close(); err != nil {
			t.Fatalf("releasing a cluster port: %v", err)
		}
		c.Nodes[i].start(t)
	}
	c.AwaitLeader(t)
	return c
}

// AwaitLeader waits until one of the running servers leads JetStream and all of
// them follow it.
func (c *Servers) AwaitLeader(t testing.TB) {
	t.Helper()
	Eventually(t, startTimeout, func() bool {
		leaders, running, peers := 0, 0, 0
		for _, s := range c.Nodes {
			if s.running == nil {
				continue
			}
			running++
			if !s.running.JetStreamIsCurrent() {
				return false
			}
			if s.running.JetStreamIsLeader() {
				leaders++
				// Whom it has not heard of yet it takes for offline, and places nothing there.
				peers = len(s.running.JetStreamClusterPeers())
			}
		}
		return leaders == 1 && peers >= running
	}, "JetStream has no leader")
}

// URL lists every server, for nats.Connect.
func (c *Servers) URL() string {
	urls := make([]string, len(c.Nodes))
	for i, s := range c.Nodes {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}

// Conn connects a client that is closed at the end of the test.
func (c *Servers) Conn(t testing.TB, options ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, c.URL(), options)
}

// JetStream is the client's side of JetStream, on a connection of its own.
func (c *Servers) JetStream(t testing.TB, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	return jetStream(t, c.Conn(t, options...))
}

// StreamLeader is the server that leads a stream of the global account, or nil
// where none does at the moment.
func (c *Servers) StreamLeader(stream string) *Server {
	for _, s := range c.Nodes {
		if s.running != nil && s.running.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return s
		}
	}
	return nil
}
