package bridgetest

import (
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// startTimeout bounds how long a server may take to take connections: test
// machines are slow and busy.
const startTimeout = 30 * time.Second

// Option changes the server that NATS or Cluster starts.
type Option func(*server.Options)

// MaxPayload sets the largest message, headers included, in bytes.
func MaxPayload(bytes int32) Option {
	return func(o *server.Options) { o.MaxPayload = bytes }
}

// StoreDir keeps JetStream in dir instead of a directory of the test.
func StoreDir(dir string) Option {
	return func(o *server.Options) { o.StoreDir = dir }
}

// SyncAlways makes JetStream flush every write to the disk before it answers.
func SyncAlways() Option {
	return func(o *server.Options) { o.SyncAlways = true }
}

// MaxStore bounds what JetStream stores on disk, in bytes.
func MaxStore(bytes int64) Option {
	return func(o *server.Options) { o.JetStreamMaxStore = bytes }
}

// NoJetStream starts a server without JetStream.
func NoJetStream() Option {
	return func(o *server.Options) { o.JetStream = false }
}

// Configure changes anything else: users, accounts, TLS.
func Configure(f func(*server.Options)) Option { return f }

// Server is one nats-server inside the test's process. Its methods are for one
// goroutine at a time.
type Server struct {
	opts    *server.Options
	running *server.Server
}

// NATS starts a nats-server with JetStream on a port of 127.0.0.1 that the
// kernel picks, and stops it at the end of the test.
func NATS(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{opts: serverOptions(t, options)}
	t.Cleanup(s.Stop)
	s.start(t)
	return s
}

func serverOptions(t testing.TB, options []Option) *server.Options {
	o := &server.Options{
		Host:      "127.0.0.1",
		Port:      server.RANDOM_PORT,
		JetStream: true,
		NoSigs:    true,
		NoLog:     true,
	}
	for _, option := range options {
		option(o)
	}
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	return o
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	// The server keeps and changes what it is given: a restart starts from the
	// options as they were, but for the port.
	running, err := server.NewServer(s.opts.Clone())
	if err != nil {
		t.Fatalf("creating the NATS server: %v", err)
	}
	running.Start()
	s.running = running
	if !running.ReadyForConnections(startTimeout) {
		t.Fatalf("the NATS server takes no connections after %v", startTimeout)
	}
	if s.opts.Port != server.RANDOM_PORT {
		return
	}
	u, err := url.Parse(running.ClientURL())
	if err != nil {
		t.Fatalf("reading the NATS server's URL: %v", err)
	}
	if s.opts.Port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatalf("reading the NATS server's port: %v", err)
	}
}

// URL is where clients connect. It stays the same over Restart.
func (s *Server) URL() string {
	return "nats://127.0.0.1:" + strconv.Itoa(s.opts.Port)
}

// Conn connects a client that is closed at the end of the test.
func (s *Server) Conn(t testing.TB, options ...nats.Option) *nats.Conn {
	t.Helper()
	return connect(t, s.URL(), options)
}

// JetStream is the client's side of JetStream, on a connection of its own.
func (s *Server) JetStream(t testing.TB, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	return jetStream(t, s.Conn(t, options...))
}

// Stop shuts the server down, as SIGTERM would. It does nothing where the
// server is down.
func (s *Server) Stop() {
	if s.running == nil {
		return
	}
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.running = nil
}

// Restart stops the server where it runs and starts it again, with the same
// store and port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.start(t)
}

func connect(t testing.TB, urls string, options []nats.Option) *nats.Conn {
	t.Helper()
	options = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}, options...)
	nc, err := nats.Connect(urls, options...)
	if err != nil {
		t.Fatalf("connecting to the NATS server: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func jetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatalf("creating the JetStream client: %v", err)
	}
	return js
}
