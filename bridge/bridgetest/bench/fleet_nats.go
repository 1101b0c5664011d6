package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// node is one nats-server process of a fleet: alone, or clustered where it has
// routes.
type node struct {
	Name    string
	Client  string // host:port
	Cluster string
	Routes  []string
	Dir     string

	process *process
}

// runFleetNode is a nats-server until ctx ends.
func runFleetNode(ctx context.Context, config string) error {
	var n node
	if err := json.Unmarshal([]byte(config), &n); err != nil {
		return err
	}
	o := &server.Options{ServerName: n.Name, JetStream: true, StoreDir: n.Dir, NoLog: true, NoSigs: true}
	var err error
	if o.Host, o.Port, err = split(n.Client); err != nil {
		return err
	}
	if len(n.Routes) > 0 {
		o.Cluster.Name = "bench"
		if o.Cluster.Host, o.Cluster.Port, err = split(n.Cluster); err != nil {
			return err
		}
		for _, r := range n.Routes {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: r})
		}
	}
	ns, err := server.NewServer(o)
	if err != nil {
		return err
	}
	ns.Start()
	if !ns.ReadyForConnections(20 * time.Second) {
		return errors.New("the server is not ready after 20 s")
	}
	<-ctx.Done()
	ns.Shutdown()
	ns.WaitForShutdown()
	return nil
}

func split(addr string) (host string, port int, err error) {
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, err
	}
	return at.IP.String(), at.Port, nil
}

// freeAddrs are addresses on this machine that nobody listens at.
func freeAddrs(ctx context.Context, n int) ([]string, error) {
	var addrs []string
	var lc net.ListenConfig
	for range n {
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // nobody connected
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// startNodes starts n servers that keep their store below dir, and connects.
func startNodes(ctx context.Context, n int, dir string) (nodes []*node, nc *nats.Conn, err error) {
	addrs, err := freeAddrs(ctx, 2*n)
	if err != nil {
		return nil, nil, err
	}
	for i := range n {
		one := &node{
			Name: fmt.Sprintf("n%d", i), Client: addrs[i], Cluster: addrs[n+i], Dir: filepath.Join(dir, fmt.Sprintf("nats%d", i)),
		}
		if n > 1 {
			one.Routes = addrs[n:]
		}
		nodes = append(nodes, one)
		if err := one.start(); err != nil {
			return nodes, nil, err
		}
	}
	for range 400 { // until one is up
		nc, err = nats.Connect(natsURL(nodes), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
			nats.ReconnectBufSize(-1), nats.Timeout(20*time.Second))
		if err == nil || !errors.Is(err, nats.ErrNoServers) {
			break
		}
		<-time.After(50 * time.Millisecond)
	}
	return nodes, nc, err
}

func (n *node) start() (err error) {
	config, err := json.Marshal(n)
	if err != nil {
		return err
	}
	n.process, err = startRole("fleet-nats", "BENCH_NODE="+string(config))
	return err
}

func natsURL(nodes []*node) string {
	var urls []string
	for _, n := range nodes {
		urls = append(urls, "nats://"+n.Client)
	}
	return strings.Join(urls, ",")
}
