// Package stack runs everything that a message passes in one test: a real
// nats-server, a simulated WhatsApp and a replica of the bridge, joined by real
// sockets. Its tests hold the statements about the service as a whole.
package stack

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
	"wabridge/bridge/simulator"
	"wabridge/bridge/telemetry"
)

// Demo is the session that a Stack runs where nothing else is asked for.
const Demo = "demo"

// The OAuth client that the bridge is on the simulator.
const (
	clientID     = "wabridge"
	clientSecret = "s3cr3t-of-the-client"
)

// patience bounds waits in tests: far more than anything takes on a calm
// machine, so that a busy one fails nothing.
const patience = 30 * time.Second

// Config says what a Stack is made of. The zero value is one Chat API
// session named Demo.
type Config struct {
	// Sessions are their ids, Platform is the one of all of them: empty is the
	// Chat API.
	Sessions []string
	Platform string
	// NATS is used where it is given; else one is started with Options.
	NATS    *bridgetest.Server
	Options []bridgetest.Option
	// Simulator, Definition (of each session) and App change what is built.
	Simulator  func(*simulator.Config)
	Definition func(*Stack, *bridge.Definition)
	App        func(*app.Config)
	// Log takes the bridge's log lines; nil drops them.
	Log io.Writer
}

// Stack is a nats-server, a simulated WhatsApp and one replica of the bridge in
// the test's process, joined by real sockets.
type Stack struct {
	NATS *bridgetest.Server
	Sim  *simulator.Simulator
	// SimAddr is host:port of the simulator.
	SimAddr string
	JS      jetstream.JetStream
	Names   bridge.Names

	platform string
	sessions map[string]simulator.SessionConfig
	front    *front // of webhooks; nil on the Chat API
	config   app.Config
	stop     func() error
}

// New starts everything and waits until every session is connected. All of
// it ends with the test.
func New(t testing.TB, c Config) *Stack {
	t.Helper()
	if len(c.Sessions) == 0 {
		c.Sessions = []string{Demo}
	}
	s := &Stack{NATS: c.NATS, platform: cmp.Or(c.Platform, bridge.PlatformChatAPI)}
	if s.NATS == nil {
		s.NATS = bridgetest.NATS(t, c.Options...)
	}
	s.JS = s.NATS.JetStream(t)
	names, err := bridge.NewNames(bridge.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	s.Names = names
	s.startSimulator(t, c)
	s.config = app.Config{
		Broker:        broker.Config{URL: s.NATS.URL(), Manage: true},
		Telemetry:     telemetry.Config{Service: "wabridge", Output: logOutput(c.Log), LogLevel: slog.LevelDebug, LogFormat: telemetry.FormatJSON},
		Sessions:      s.Definitions(c.Sessions...),
		AdminAddr:     "off",
		ReplicaID:     "one",
		AllowInsecure: true,
	}
	if s.front != nil {
		s.config.WebhookAddr, s.config.WebhooksAt = "127.0.0.1:0", s.front.add
		s.config.GraphURL = "http://" + s.SimAddr
	}
	if c.Definition != nil {
		for i := range s.config.Sessions {
			c.Definition(s, &s.config.Sessions[i])
		}
	}
	if c.App != nil {
		c.App(&s.config)
	}
	s.Start(t)
	t.Cleanup(func() { s.Stop(t) })
	for _, id := range c.Sessions {
		s.WaitState(t, id, bridge.Connected)
	}
	return s
}

func logOutput(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

func (s *Stack) startSimulator(t testing.TB, c Config) {
	t.Helper()
	conf := simulator.Config{Clients: []simulator.Client{{ID: clientID, Secret: clientSecret}, {ID: appID, Secret: clientSecret}}}
	if s.platform == bridge.PlatformCloudAPI {
		s.front = newFront(t)
	}
	for _, id := range c.Sessions {
		conf.Sessions = append(conf.Sessions, s.simSession(id))
	}
	if c.Simulator != nil {
		c.Simulator(&conf)
	}
	s.sessions = make(map[string]simulator.SessionConfig)
	for _, one := range conf.Sessions {
		s.sessions[one.ID] = one.WithDefaults()
	}
	sim, err := simulator.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sim.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-served, sim.Close()); err != nil {
			t.Errorf("stopping the simulator: %v", err)
		}
	})
	s.Sim, s.SimAddr = sim, l.Addr().String()
}

// simSession is a session of the simulator on the stack's platform.
func (s *Stack) simSession(id string) simulator.SessionConfig {
	c := simulator.SessionConfig{ID: id}
	if s.front != nil {
		c.Webhook = s.front.webhook()
	}
	return c
}

// Definitions are those of sessions on the stack's simulator.
func (s *Stack) Definitions(ids ...string) []bridge.Definition {
	defs := make([]bridge.Definition, len(ids))
	for i, id := range ids {
		if s.front != nil {
			defs[i] = s.cloudDefinition(id)
			continue
		}
		defs[i] = bridge.Definition{
			ID: id, Platform: bridge.PlatformChatAPI,
			URL:      "ws://" + s.SimAddr + "/v1/sessions/{session}/ws",
			TokenURL: "http://" + s.SimAddr + "/oauth/token",
			ClientID: clientID, ClientSecret: "value:" + clientSecret,
		}
	}
	return defs
}

// Start starts the replica; it is stopped.
func (s *Stack) Start(t testing.TB) {
	t.Helper()
	service, err := app.New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// Stop ends the replica in order, as SIGTERM does, and reports how.
func (s *Stack) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(); err != nil {
		t.Errorf("the bridge ended with: %v", err)
	}
}

// WaitState waits until a session's last known state is the given one.
func (s *Stack) WaitState(t testing.TB, session string, state bridge.State) {
	t.Helper()
	want := `"state":"` + string(state) + `"`
	var last string
	defer func() {
		if t.Failed() {
			t.Logf("the last state of %s: %s", session, last)
		}
	}()
	bridgetest.Eventually(t, patience, func() bool {
		m, err := s.lastState(session)
		if err != nil {
			return false
		}
		last = string(m.Data)
		return contains(m.Data, want)
	}, "session %s is not %s", session, state)
}

func (s *Stack) lastState(session string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	bucket := s.Names.Bucket(broker.State)
	stream, err := s.JS.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return nil, err
	}
	return stream.GetLastMsgForSubject(ctx, "$KV."+bucket+".state."+session)
}

// Publish stores a command for a session and returns its sequence. With an id
// the command carries it as Nats-Msg-Id.
func (s *Stack) Publish(t testing.TB, session, id, body string) uint64 {
	t.Helper()
	m := nats.NewMsg(s.Names.Send(session))
	m.Data = []byte(body)
	if id != "" {
		m.Header.Set(nats.MsgIdHdr, id)
	}
	return s.PublishMsg(t, m)
}

// PublishMsg stores a command and returns its sequence.
func (s *Stack) PublishMsg(t testing.TB, m *nats.Msg) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ack, err := s.JS.PublishMsg(ctx, m)
	if err != nil {
		t.Fatalf("publishing a command: %v", err)
	}
	return ack.Sequence
}
