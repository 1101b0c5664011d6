package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge/bridgetest"
)

// appID is the OAuth client, and the Meta app, that everything runs under.
const (
	appID       = "990000000000001"
	appSecret   = "chaos-app-secret"
	verifyToken = "chaos-verify"
)

// freePorts finds ports that stay free between two starts of a process: below
// those that the kernel gives to outgoing connections.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := 20_000 + rand.IntN(10_000)
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", local(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("looking for a port: %w", err)
		}
		ports = append(ports, port)
	}
	return nil, errors.New("no free port between 20000 and 30000")
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func (w *world) layNATS() error {
	n := w.o.nodes
	ports, err := freePorts(2 * n)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	w.routes = make([][]*bridgetest.Link, n)
	for i := range n {
		c := serverConfig{Name: "n" + strconv.Itoa(i), Port: ports[i], Store: filepath.Join(w.dir, "nats"+strconv.Itoa(i))}
		w.routes[i] = make([]*bridgetest.Link, n)
		for j := range n {
			if j == i {
				continue
			}
			if w.routes[i][j], err = bridgetest.NewLink(fmt.Sprintf("route-%d-%d", i, j), local(ports[n+j])); err != nil {
				return err
			}
			c.ClusterPort, c.Routes = ports[n+i], append(c.Routes, w.routes[i][j].Addr())
		}
		config, err := c.encode()
		if err != nil {
			return err
		}
		addr := local(c.Port)
		w.natsAddrs = append(w.natsAddrs, addr)
		w.nodes = append(w.nodes, &process{
			name: "nats" + strconv.Itoa(i), argv: []string{self, serverRole, config}, dir: w.dir,
			ready: func(ctx context.Context) error { return accepts(ctx, addr) },
		})
	}
	return nil
}

// accepts tells whether a NATS server takes clients.
func accepts(ctx context.Context, addr string) error {
	nc, err := nats.Connect("nats://"+addr, nats.Timeout(2*time.Second), nats.NoReconnect())
	if err != nil {
		return err
	}
	nc.Close()
	return ctx.Err()
}

func (w *world) layPlatform(port int) {
	w.control = newControl("http://" + local(port))
	ttl := "30s" // renewed on the live connection again and again
	if w.o.cloud() {
		ttl = "24h" // nobody renews a system user's token
	}
	w.sim = &process{
		name: "wasim", dir: w.dir,
		argv: []string{
			filepath.Join(w.dir, "wasim"), "-addr", local(port), "-state", filepath.Join(w.dir, "wasim-state"),
			"-client-id", appID, "-client-secret", appSecret, "-token-ttl", ttl, "-log-level", "info",
		},
		ready: func(ctx context.Context) error { return w.control.once(ctx, "GET", "/livez", nil, nil) },
	}
}

func (w *world) layBridges(simPort int, webhookPorts []int) error {
	var hooks []string
	for _, port := range webhookPorts {
		hooks = append(hooks, local(port))
	}
	var err error
	if w.webhooks, err = bridgetest.NewLink("webhooks", hooks...); err != nil {
		return err
	}
	for r := range w.o.replicas {
		name := "r" + strconv.Itoa(r)
		platform, err := bridgetest.NewLink(name+"-platform", local(simPort))
		if err != nil {
			return err
		}
		w.toPlatform = append(w.toPlatform, platform)
		var links []*bridgetest.Link
		var urls []string
		for i := range w.nodes {
			l, err := bridgetest.NewLink(fmt.Sprintf("%s-nats%d", name, i), w.natsAddrs[i])
			if err != nil {
				return err
			}
			links, urls = append(links, l), append(urls, "nats://"+l.Addr())
		}
		w.toNATS = append(w.toNATS, links)
		w.bridges = append(w.bridges, &process{
			name: name, argv: []string{filepath.Join(w.dir, "wabridge"), "run"}, dir: w.dir,
			env:   w.environment(name, strings.Join(urls, ","), platform.Addr(), hooks[r]),
			ready: func(context.Context) error { return nil }, // what flows says it
		})
	}
	return nil
}

// environment is what a replica is told.
func (w *world) environment(replica, natsURL, platform, webhook string) []string {
	env := []string{
		"WABRIDGE_NATS_URL=" + natsURL, "WABRIDGE_REPLICA_ID=" + replica, "WABRIDGE_ADMIN_ADDR=off", "WABRIDGE_LOG_FORMAT=text",
		"GOTRACEBACK=all",
	}
	if w.o.cloud() {
		env = append(env, "WABRIDGE_GRAPH_URL=http://"+platform, "WABRIDGE_WEBHOOK_ADDR="+webhook)
	}
	var ids []string
	for i := range w.o.sessions {
		id := session(i)
		ids = append(ids, id)
		set := func(name, value string) {
			env = append(env, "WABRIDGE_SESSION_"+strings.ToUpper(id)+"_"+name+"="+value)
		}
		set("PLATFORM", w.o.platform)
		if !w.o.cloud() {
			set("URL", "ws://"+platform+"/v1/sessions/{session}/ws")
			set("TOKEN_URL", "http://"+platform+"/oauth/token")
			set("CLIENT_ID", appID)
			set("CLIENT_SECRET", appSecret)
			continue
		}
		set("PHONE_NUMBER_ID", phoneNumberID(i))
		set("WABA_ID", "77"+phoneNumberID(i))
		set("APP_ID", appID)
		set("APP_SECRET", appSecret)
		set("VERIFY_TOKEN", verifyToken)
		set("TOKEN_FILE", w.tokenFile())
		set("UNKNOWN", w.o.unknown)
	}
	return append(env, "WABRIDGE_SESSIONS="+strings.Join(ids, ","))
}

func phoneNumberID(i int) string { return fmt.Sprintf("88009%010d", i) }
