package cloudapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wabridge/auth"
	"wabridge/bridge"
)

const (
	testPhone  = "880090070060050"
	testWABA   = "770010020030040"
	testApp    = "110022003300440"
	testSecret = "test_app_secret_do_not_use"
	testToken  = "EAATESTTOKEN"
	// soon bounds every wait of a test on a busy machine.
	soon = 20 * time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// corpus reads a file of the examples.
func corpus(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../codec/testdata/cloudapi/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// graphServer is a Graph API on a real socket. Handlers are by method and last
// part of the path; what has none answers 404.
type graphServer struct {
	*httptest.Server
	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	calls    map[string]int
	requests chan recorded
}

// recorded is one request to /messages.
type recorded struct {
	path, query string
	header      http.Header
	body        []byte
}

func newGraphServer(t testing.TB) *graphServer {
	t.Helper()
	g := &graphServer{
		handlers: make(map[string]http.HandlerFunc),
		calls:    make(map[string]int),
		requests: make(chan recorded, 1000),
	}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	g.answer(t, "GET debug_token", 200, corpus(t, "response/debug_token_valid.json"))
	g.answer(t, "POST subscribed_apps", 200, []byte(`{"success":true}`))
	g.answer(t, "GET "+testPhone, 200, corpus(t, "response/phone_number_info.json"))
	g.answer(t, "POST messages", 200, corpus(t, "response/send_ok.json"))
	return g
}

func (g *graphServer) serve(w http.ResponseWriter, r *http.Request) {
	name := r.Method + " " + r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	g.mu.Lock()
	g.calls[name]++
	handler := g.handlers[name]
	g.mu.Unlock()
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	handler(w, r)
}

// on sets a handler.
func (g *graphServer) on(name string, h http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handlers[name] = h
}

// answer sets a handler that answers always the same and records the request.
func (g *graphServer) answer(t testing.TB, name string, status int, body []byte, header ...string) {
	g.on(name, func(w http.ResponseWriter, r *http.Request) {
		in, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading a request: %v", err)
		}
		select {
		case g.requests <- recorded{r.URL.Path, r.URL.RawQuery, r.Header.Clone(), in}:
		default:
			t.Error("too many requests")
		}
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		if _, err := w.Write(body); err != nil {
			t.Errorf("answering: %v", err)
		}
	})
}

// count says how often a handler was called.
func (g *graphServer) count(name string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[name]
}

// message waits for the next request to /messages.
func (g *graphServer) message(t testing.TB) recorded {
	t.Helper()
	for {
		select {
		case r := <-g.requests:
			if strings.HasSuffix(r.path, "/messages") {
				return r
			}
		case <-time.After(soon):
			t.Fatal("no message came")
		}
	}
}

// client is a Graph client of the server.
func (g *graphServer) client(t testing.TB, change ...func(*GraphConfig)) *Graph {
	t.Helper()
	source, err := auth.NewStatic(testToken)
	if err != nil {
		t.Fatal(err)
	}
	c := GraphConfig{URL: g.URL, Token: source, AppID: testApp, AppSecret: testSecret, Logger: quiet()}
	for _, f := range change {
		f(&c)
	}
	client, err := NewGraph(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// host records what a session says. It implements bridge.Host.
type host struct {
	changes chan bridge.Change
	inbound chan *bridge.Inbound
	wakes   chan struct{}
}

func newHost() *host {
	return &host{
		changes: make(chan bridge.Change, 1000),
		inbound: make(chan *bridge.Inbound, 10000),
		wakes:   make(chan struct{}, 1000),
	}
}

func (h *host) Changed(c bridge.Change) { h.changes <- c }
func (h *host) Wake()                   { h.wakes <- struct{}{} }

func (h *host) Position(context.Context, string) (uint64, error) { return 0, nil }

func (h *host) Receive(_ context.Context, in *bridge.Inbound) error {
	h.inbound <- in
	if in.Acker != nil {
		in.Acker.Stored(in, nil)
	}
	return nil
}

// state waits until the session reports state, and returns the report.
func (h *host) state(t testing.TB, state bridge.State) bridge.Change {
	t.Helper()
	for {
		select {
		case c := <-h.changes:
			if c.State == state {
				return c
			}
		case <-time.After(soon):
			t.Fatalf("the session does not become %s", state)
		}
	}
}

// started is a session that runs until the end of the test.
type started struct {
	*Session
	host *host
	stop func()
}

func start(t testing.TB, g *Graph, change ...func(*Config)) *started {
	t.Helper()
	h := newHost()
	c := Config{
		ID: "shop", PhoneNumberID: testPhone, WABAID: testWABA,
		Graph: g, Host: h, Logger: quiet(),
	}
	for _, f := range change {
		f(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	halt := s.Start(func() { close(done) })
	stop := sync.OnceFunc(func() {
		halt()
		select {
		case <-done:
		case <-time.After(soon):
			t.Error("the session does not end")
		}
	})
	t.Cleanup(stop)
	return &started{Session: s, host: h, stop: stop}
}

// send sends body and waits for its result.
func (s *started) send(t testing.TB, body string) bridge.Result {
	t.Helper()
	return s.give(t, &bridge.Outgoing{Ref: "order-1", Type: "text", Body: []byte(body)})
}

func (s *started) give(t testing.TB, out *bridge.Outgoing) bridge.Result {
	t.Helper()
	results := make(chan bridge.Result, 2)
	out.Done = func(r bridge.Result) { results <- r }
	s.Send(out)
	select {
	case r := <-results:
		return r
	case <-time.After(soon):
		t.Fatal("no result came")
		return bridge.Result{}
	}
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(soon)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not within %v", what, soon)
		}
	}
}

// equalJSON fails where two JSON texts differ in more than form.
func equalJSON(t testing.TB, got, want []byte) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("got no JSON: %v in %s", err, got)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		t.Fatal(err)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if string(x) != string(y) {
		t.Errorf("got  %s\nwant %s", x, y)
	}
}
