package chatapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/bridge"
)

// platform is a WebSocket server that a test plays by hand.
type platform struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	// refuse answers a handshake itself, and says so.
	refuse func(n int, w http.ResponseWriter, r *http.Request) bool
	// protocol is what the server speaks.
	protocol string
	peers    chan *peer
	stop     chan struct{}
}

// peer is the platform's side of one connection.
type peer struct {
	t      *testing.T
	conn   *websocket.Conn
	header http.Header
	frames chan event // what the session wrote; closed at its end
	pings  chan struct{}
	pongs  chan string
	mute   atomic.Bool // answer no pings
	mu     sync.Mutex
	err    error // why frames is closed
}

// event is a frame, read without codec.
type event struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Sequence    string          `json:"sequence,omitempty"`
	Time        string          `json:"time,omitempty"`
	TraceParent string          `json:"traceparent,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{protocol: subprotocol, peers: make(chan *peer, 100), stop: make(chan struct{})}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(t, w, r) }))
	t.Cleanup(func() {
		close(p.stop)
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *platform) serve(t *testing.T, w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r)
	n, refuse := len(p.requests), p.refuse
	p.mu.Unlock()
	if refuse != nil && refuse(n, w, r) {
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{p.protocol}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // the test is over
	c := &peer{t: t, conn: conn, header: r.Header, frames: make(chan event, 10000), pings: make(chan struct{}, 100), pongs: make(chan string, 100)}
	conn.SetPingHandler(func(data string) error {
		c.pings <- struct{}{}
		if c.mute.Load() {
			return nil
		}
		return conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	conn.SetPongHandler(func(data string) error {
		c.pongs <- data
		return nil
	})
	p.peers <- c
	for {
		_, raw, err := conn.ReadMessage()
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			close(c.frames)
			return
		}
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Errorf("the session wrote what is not JSON: %v", err)
			continue
		}
		if e.SpecVersion != "1.0" || e.ID == "" || e.Source != "/wabridge/shop" {
			t.Errorf("the session wrote what is no CloudEvent of its own: %+v", e)
		}
		c.frames <- e
	}
}

func (p *platform) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests)
}

// answering sets how handshakes are refused.
func (p *platform) answering(f func(n int, w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = f
}

// accept takes the next connection.
func (p *platform) accept(t *testing.T) *peer {
	t.Helper()
	return receive(t, p.peers, "a connection")
}

// ready takes the next connection and greets it.
func (p *platform) ready(t *testing.T, data ...string) *peer {
	t.Helper()
	c := p.accept(t)
	c.greet(data...)
	return c
}

const readyData = `{"session":"shop","epoch":"e1","scopes":["whatsapp_business_messaging","whatsapp_business_management"],"window":8}`

func (c *peer) greet(data ...string) {
	c.t.Helper()
	if len(data) == 0 {
		data = []string{readyData}
	}
	c.write(readyFrame(data[0]))
}

func readyFrame(data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"r","source":"/p","type":"whatsapp.session.ready","data":%s}`, data)
}

func (c *peer) write(frame string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		c.t.Errorf("platform writing: %v", err)
	}
}

// message writes one numbered event.
func (c *peer) message(sequence int) {
	c.t.Helper()
	c.write(messageFrame(sequence, "whatsapp.message.text", `{"message":{"id":"m"}}`))
}

func messageFrame(sequence int, kind, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"m%d","source":"/p","type":%q,"sequence":"%020d","time":"2026-11-23T12:00:00Z","data":%s}`,
		sequence, kind, sequence, data)
}

// result answers a send.
func (c *peer) result(data string) {
	c.t.Helper()
	c.write(resultFrame(data))
}

func resultFrame(data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"x","source":"/p","type":"whatsapp.result","data":%s}`, data)
}

// accepted answers the send of ref with a message id.
func (c *peer) accepted(ref string) {
	c.t.Helper()
	c.result(acceptance(ref))
}

func acceptance(ref string) string {
	return fmt.Sprintf(`{"ref":%q,"messages":[{"id":"wamid.%s"}]}`, ref, ref)
}

// close closes the connection with a code.
func (c *peer) close(code int, reason string) {
	c.t.Helper()
	if err := c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(patience)); err != nil {
		c.t.Errorf("platform closing: %v", err)
	}
}

// cut drops the connection without a word.
func (c *peer) cut() {
	c.t.Helper()
	if err := c.conn.NetConn().Close(); err != nil {
		c.t.Errorf("platform cutting: %v", err)
	}
}

// read takes the next frame of kind, past acks where kind is another.
func (c *peer) read(kind string) event {
	c.t.Helper()
	for {
		e := receive(c.t, c.frames, "a frame of type "+kind)
		if e.Type == kind {
			return e
		}
		if e.Type != typeAck {
			c.t.Fatalf("the session wrote %q, want %s", e.Type, kind)
		}
	}
}

// acked waits for the ack of sequence.
func (c *peer) acked(sequence int) {
	c.t.Helper()
	want := fmt.Sprintf(`{"sequence":"%020d"}`, sequence)
	for {
		e := receive(c.t, c.frames, fmt.Sprintf("the ack of %d", sequence))
		if e.Type == typeAck && string(e.Data) == want {
			return
		}
		if e.Type != typeAck || string(e.Data) > want {
			c.t.Fatalf("the session wrote %s %s, want the ack of %d", e.Type, e.Data, sequence)
		}
	}
}

// ended waits for the end of the connection and returns the close code.
func (c *peer) ended() int {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-c.frames:
			if open {
				continue
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if closed, ok := errors.AsType[*websocket.CloseError](c.err); ok {
				return closed.Code
			}
			return 0
		case <-deadline:
			c.t.Fatal("the connection stays open")
		}
	}
}

// running is a session that runs.
type running struct {
	*Session
	host   *host
	tokens *tokens
	stop   func()
	done   chan struct{}
}

// start runs a session against p with short times; change adapts its Config.
func start(t *testing.T, p *platform, change ...func(c *Config)) *running {
	t.Helper()
	r := &running{host: &host{}, tokens: &tokens{}, done: make(chan struct{})}
	config := Config{
		Definition: bridge.Definition{ID: "shop", URL: "ws" + strings.TrimPrefix(p.URL, "http") + "/v1/{session}"},
		Host:       r.host, Tokens: r.tokens,
		Env: &Env{
			BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
			UnauthorizedMin: time.Hour, UnauthorizedMax: time.Hour,
			CloseTimeout: 100 * time.Millisecond, // of sends that a test leaves unanswered
		},
	}
	for _, f := range change {
		f(&config)
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Session = s
	r.stop = s.Start(func() { close(r.done) })
	t.Cleanup(func() {
		r.stop()
		receive(t, r.done, "the end of the session")
	})
	return r
}

// send gives the session a command and returns where its result arrives.
func (r *running) send(ref string) chan bridge.Result {
	results := make(chan bridge.Result, 2) // room for one too many
	r.Send(&bridge.Outgoing{
		Ref: ref, Type: "text", Body: []byte(`{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"hi"}}`),
		Done: func(result bridge.Result) { results <- result },
	})
	return results
}

// connected waits for the session to be connected.
func (r *running) connected(t *testing.T) {
	t.Helper()
	eventually(t, "a connected session", func() bool { return r.host.last().State == bridge.Connected && r.Window() > 0 })
}

// in waits for a state.
func (r *running) in(t *testing.T, state bridge.State) bridge.Change {
	t.Helper()
	eventually(t, "state "+string(state), func() bool { return r.host.last().State == state })
	return r.host.last()
}
