package simulator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/bridge/simulator"
)

const patience = 20 * time.Second

// platform is a simulator on a real socket.
type platform struct {
	*simulator.Simulator
	url string
}

func newPlatform(t *testing.T, change func(*simulator.Config)) *platform {
	t.Helper()
	cfg := simulator.Config{
		Sessions: []simulator.SessionConfig{{ID: "demo"}},
		Clients:  []simulator.Client{{ID: "bridge", Secret: "s3cret"}},
	}
	if change != nil {
		change(&cfg)
	}
	sim, err := simulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return &platform{Simulator: sim, url: srv.URL}
}

// token asks for an access token as a bridge does.
func (p *platform) token(t *testing.T) string {
	t.Helper()
	status, answer := p.form(t, "/oauth/token", url.Values{"grant_type": {"client_credentials"}}, "bridge", "s3cret")
	if status != http.StatusOK {
		t.Fatalf("token: status %d: %v", status, answer)
	}
	return answer["access_token"].(string)
}

// form posts a form and reads the JSON answer.
func (p *platform) form(t *testing.T, path string, form url.Values, client, secret string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		req.SetBasicAuth(client, secret)
	}
	return do(t, req)
}

// call speaks JSON to the simulator.
func (p *platform) call(t *testing.T, method, path, body string, header ...string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (int, map[string]any) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if json.Unmarshal(b, &v) != nil {
		v = map[string]any{"body": string(b)}
	}
	return resp.StatusCode, v
}

// event is a frame as the test's bridge reads it.
type event struct {
	SpecVersion, ID, Source, Type, Subject, Sequence, TraceParent string
	Data                                                          json.RawMessage
}

// link is the test's bridge: a WebSocket that keeps what it read.
type link struct {
	t  *testing.T
	ws *websocket.Conn

	mu     sync.Mutex
	grown  *sync.Cond
	events []event
	err    error
	n      int // of frames sent, for ids
	read   int // what next gave
}

// dial opens a session; the first frame must be ready.
func (p *platform) dial(t *testing.T, token string) *link {
	t.Helper()
	ws, status, _ := p.handshake(t, token, nil)
	if ws == nil {
		t.Fatalf("dial: status %d", status)
	}
	return newLink(t, ws)
}

func newLink(t *testing.T, ws *websocket.Conn) *link {
	l := &link{t: t, ws: ws}
	l.grown = sync.NewCond(&l.mu)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, b, err := ws.ReadMessage()
			l.mu.Lock()
			if err != nil {
				l.err = err
				l.grown.Broadcast()
				l.mu.Unlock()
				return
			}
			var e event
			if err := json.Unmarshal(b, &e); err != nil {
				e = event{Type: "malformed", Data: b}
			}
			l.events = append(l.events, e)
			l.grown.Broadcast()
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = ws.Close() // the test may have closed it
		<-done
	})
	return l
}

// handshake returns the connection, or the status and header of the refusal.
func (p *platform) handshake(t *testing.T, token string, change func(http.Header, *websocket.Dialer)) (*websocket.Conn, int, http.Header) {
	t.Helper()
	d := &websocket.Dialer{HandshakeTimeout: patience, Subprotocols: []string{"cloudevents.json"}}
	h := http.Header{"Authorization": {"Bearer " + token}}
	if change != nil {
		change(h, d)
	}
	ws, resp, err := d.DialContext(t.Context(), "ws"+strings.TrimPrefix(p.url, "http")+"/v1/sessions/demo/ws", h)
	if resp == nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // nothing is read from it
	return ws, resp.StatusCode, resp.Header
}

// next waits for the next frame.
func (l *link) next() event {
	l.t.Helper()
	e, err := l.nextOr()
	if err != nil {
		l.t.Fatalf("connection ended: %v", err)
	}
	return e
}

func (l *link) nextOr() (event, error) {
	l.t.Helper()
	timer := time.AfterFunc(patience, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err == nil {
			l.err = errors.New("timed out")
		}
		l.grown.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.read == len(l.events) {
		if l.err != nil {
			return event{}, l.err
		}
		l.grown.Wait()
	}
	l.read++
	return l.events[l.read-1], nil
}

// expect waits for a frame of a type and fails on any other.
func (l *link) expect(kind string) event {
	l.t.Helper()
	e := l.next()
	if e.Type != kind {
		l.t.Fatalf("got %s, want %s: %s", e.Type, kind, e.Data)
	}
	return e
}

// closed waits for the end and returns the close error.
func (l *link) closed() *websocket.CloseError {
	l.t.Helper()
	for {
		if _, err := l.nextOr(); err != nil {
			var ce *websocket.CloseError
			if !errors.As(err, &ce) {
				l.t.Fatalf("ended without a close frame: %v", err)
			}
			return ce
		}
	}
}

func (l *link) write(kind, id, data string) {
	l.t.Helper()
	l.n++
	if id == "" {
		id = fmt.Sprint("frame-", l.n)
	}
	l.raw(fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/wabridge/demo","type":%q,"datacontenttype":"application/json","data":%s}`, id, kind, data))
}

func (l *link) raw(s string) {
	l.t.Helper()
	if err := l.ws.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *link) send(ref, body string) {
	l.t.Helper()
	l.write("whatsapp.send", ref, body)
}

func (l *link) ack(sequence int) {
	l.t.Helper()
	l.write("whatsapp.ack", "", fmt.Sprintf(`{"sequence":"%020d"}`, sequence))
}

func textTo(number, body string) string {
	return fmt.Sprintf(`{"messaging_product":"whatsapp","to":"+%s","type":"text","text":{"body":%q}}`, number, body)
}

// result is the data of whatsapp.result.
type result struct {
	Ref        string
	Messages   []struct{ ID string }
	Duplicate  bool
	Error      *struct{ Code int }
	RetryAfter int `json:"retry_after"`
}

func (l *link) result() result {
	l.t.Helper()
	return decode[result](l.t, l.expect("whatsapp.result").Data)
}

func decode[T any](t *testing.T, raw []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting: %s", what)
		}
		<-tick.C
	}
}

// clean fails where the bridge of the test broke a rule.
func (p *platform) clean(t *testing.T) {
	t.Helper()
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}
}
