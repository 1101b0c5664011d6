package chatapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

func TestHandshake(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	if s.Window() != 0 {
		t.Errorf("window %d before the first frame", s.Window())
	}
	c := p.ready(t)
	s.connected(t)
	p.mu.Lock()
	r := p.requests[0]
	p.mu.Unlock()
	if r.URL.Path != "/v1/shop" || r.Header.Get("Authorization") != "Bearer secret-token-1" {
		t.Errorf("path %s, authorization %s", r.URL.Path, r.Header.Get("Authorization"))
	}
	if got := r.Header.Get("Sec-WebSocket-Protocol"); got != "cloudevents.json" {
		t.Errorf("protocol %q", got)
	}
	if got := r.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("extensions %q: compression must not be offered", got)
	}
	if s.Window() != 8 || !s.Idempotent() {
		t.Errorf("window %d, idempotent %v", s.Window(), s.Idempotent())
	}
	s.stop()
	if code := c.ended(); code != int(CloseGoingAway) {
		t.Errorf("closed with %d, want 1001", code)
	}
	receive(t, s.done, "the end of Run")
	if got := s.host.states(); got != "connecting connected stopped" {
		t.Errorf("states: %s", got)
	}
}

func TestHandshakeAnswers(t *testing.T) {
	for status, want := range map[int]struct {
		state    bridge.State
		class    codec.Class
		requests int // that are made, and then no more for an hour
		header   string
	}{
		401: {bridge.Unauthorized, codec.Unauthorized, 2, ""},
		403: {bridge.Forbidden, codec.Denied, 1, ""},
		404: {bridge.Disconnected, codec.Transient, 1, ""},
		429: {bridge.Disconnected, codec.Throttled, 1, "3600"},
		503: {bridge.Disconnected, codec.Transient, 1, "3600"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			p := newPlatform(t)
			p.answering(func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				if want.header != "" {
					w.Header().Set("Retry-After", want.header)
				}
				w.WriteHeader(status)
				fmt.Fprint(w, "text-of-the-platform")
				return true
			})
			s := start(t, p)
			change := s.in(t, want.state)
			if change.Class != want.class || !strings.Contains(change.Reason, fmt.Sprint(status)) ||
				strings.Contains(change.Reason, "text-of") || strings.Contains(change.Reason, "secret") {
				t.Errorf("change %+v", change)
			}
			if n := p.count(); n != want.requests {
				t.Errorf("%d handshakes, want %d", n, want.requests)
			}
			// Resume ends each of these waits.
			p.answering(nil)
			s.Resume()
			p.ready(t)
			s.connected(t)
			if n := p.count(); n != want.requests+1 {
				t.Errorf("%d handshakes, want %d", n, want.requests+1)
			}
		})
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	p := newPlatform(t)
	p.answering(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer secret-token-2" {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	s := start(t, p)
	p.ready(t)
	s.connected(t)
	if got := s.host.states(); got != "connecting connected" {
		t.Errorf("states: %s", got)
	}
	if got := fmt.Sprint(s.tokens.refused); got != "[secret-token-1]" {
		t.Errorf("invalidated %s", got)
	}
}

func TestOnlyTokenIsTriedAgainSlowly(t *testing.T) {
	p := newPlatform(t)
	p.answering(func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 3 {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	s := start(t, p, func(c *Config) {
		c.Tokens = &tokens{fixed: true}
		c.UnauthorizedMin, c.UnauthorizedMax = 5*time.Millisecond, 10*time.Millisecond
	})
	p.ready(t)
	s.connected(t)
	if got := s.host.states(); !strings.HasPrefix(got, "connecting unauthorized") {
		t.Errorf("states: %s", got)
	}
}

func TestTokenSourceErrors(t *testing.T) {
	for err, want := range map[error]bridge.State{
		auth.ErrRefused: bridge.Unauthorized, auth.ErrForbidden: bridge.Forbidden, errors.New("away"): bridge.Disconnected,
	} {
		p := newPlatform(t)
		source := &tokens{err: err}
		s := start(t, p, func(c *Config) { c.Tokens = source })
		s.in(t, want)
		if n := p.count(); n != 0 {
			t.Errorf("%v: %d handshakes without a token", err, n)
		}
		source.set(func(s *tokens) { s.err = nil })
		s.Resume()
		p.ready(t)
		s.connected(t)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := newPlatform(t)
	p := newPlatform(t)
	p.answering(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		return true
	})
	s := start(t, p)
	s.in(t, bridge.Disconnected)
	eventually(t, "a second try", func() bool { return p.count() > 1 })
	if n := elsewhere.count(); n != 0 {
		t.Errorf("followed %d times", n)
	}
}

func TestWrongSubprotocolIsRefused(t *testing.T) {
	p := newPlatform(t)
	p.protocol = "mqtt"
	s := start(t, p)
	if change := s.in(t, bridge.Disconnected); !strings.Contains(change.Reason, "cloudevents.json") {
		t.Errorf("reason %q", change.Reason)
	}
}

func TestFirstFrame(t *testing.T) {
	for name, frame := range map[string]string{
		"another event":   messageFrame(1, "whatsapp.message.text", `{}`),
		"not JSON":        "hello",
		"no window":       `{"specversion":"1.0","id":"r","source":"/p","type":"whatsapp.session.ready","data":{"session":"s","epoch":"e","scopes":[]}}`,
		"not an object":   `{"specversion":"1.0","id":"r","source":"/p","type":"whatsapp.session.ready","data":[]}`,
		"far too large":   strings.Repeat("x", codec.MaxFrame+1),
		"nothing in time": "",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t)
			s := start(t, p, func(c *Config) {
				c.BackoffMin, c.BackoffMax = time.Hour, time.Hour
				if name == "nothing in time" {
					c.Handshake = 200 * time.Millisecond
				}
			})
			c := p.accept(t)
			if frame != "" {
				c.write(frame)
			}
			s.in(t, bridge.Disconnected)
			c.ended()
			if got := s.host.got(); got != "" {
				t.Errorf("took %s", got)
			}
		})
	}
}

func TestMissingScope(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t, `{"session":"shop","epoch":"e1","scopes":["whatsapp_business_management"],"window":8}`)
	change := s.in(t, bridge.Forbidden)
	if !strings.Contains(change.Reason, ScopeMessaging) {
		t.Errorf("reason %q", change.Reason)
	}
	c.ended()
	s.Resume()
	p.ready(t, `{"session":"shop","epoch":"e1","scopes":["whatsapp_business_messaging"],"window":8}`)
	s.connected(t)
	if reason := s.host.last().Reason; !strings.Contains(reason, ScopeManagement) {
		t.Errorf("reason %q", reason)
	}
}

func TestCloseCodes(t *testing.T) {
	for code, want := range map[CloseCode]struct {
		state bridge.State
		back  bool // connects again by itself
	}{
		CloseGoingAway:  {bridge.Disconnected, true},
		CloseTooBig:     {bridge.Disconnected, true},
		ClosePermission: {bridge.Forbidden, false},
		CloseReplaced:   {bridge.Replaced, false},
		CloseSlowDown:   {bridge.Disconnected, false},
		4999:            {bridge.Disconnected, true},
	} {
		t.Run(fmt.Sprint(int(code)), func(t *testing.T) {
			p := newPlatform(t)
			s := start(t, p)
			c := p.ready(t)
			s.connected(t)
			c.close(int(code), "3600")
			if want.back {
				p.ready(t)
				eventually(t, "connected again", func() bool { return strings.Count(s.host.states(), "connected") >= 3 })
			} else {
				s.in(t, want.state)
				if s.Window() != 0 {
					t.Errorf("window %d", s.Window())
				}
				s.Resume()
				p.ready(t)
				s.connected(t)
			}
			if got := s.host.states(); !strings.Contains(got, string(want.state)) {
				t.Errorf("states: %s", got)
			}
		})
	}
}

func TestCloseForTheToken(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	c.close(int(CloseToken), "")
	c = p.ready(t)
	if got := c.header.Get("Authorization"); got != "Bearer secret-token-2" {
		t.Errorf("authorization %s", got)
	}
	c.close(int(CloseToken), "")
	s.in(t, bridge.Unauthorized)
	if n := p.count(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestLostConnectionComesBack(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	for range 5 {
		c := p.ready(t)
		s.connected(t)
		c.cut()
		eventually(t, "the loss is seen", func() bool { return s.host.last().State != bridge.Connected })
	}
	if n := s.host.asked; n != 1 {
		t.Errorf("asked %d times for the position of one epoch", n)
	}
}

// A session waits for its turn before each connection, and ends while it waits.
func TestTurnComesFirst(t *testing.T) {
	p := newPlatform(t)
	turns, over := make(chan struct{}), make(chan struct{}, 3)
	s := start(t, p, func(c *Config) {
		c.Turn = func(ctx context.Context) (func(), error) {
			select {
			case <-turns:
				return func() { over <- struct{}{} }, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})
	turns <- struct{}{}
	c := p.ready(t)
	s.connected(t)
	c.cut()
	turns <- struct{}{}
	p.ready(t).cut()
	s.in(t, bridge.Disconnected)
	s.stop()
	receive(t, s.done, "the end of Run")
	if n := p.count(); n != 2 || len(over) != 2 {
		t.Errorf("%d connections in two turns, of which %d were given back", n, len(over))
	}
}

func TestPositionUnknown(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	s.host.set(func(h *host) { h.positions = map[string]uint64{} })
	p.ready(t)
	if change := s.in(t, bridge.Disconnected); !strings.Contains(change.Reason, "JetStream is away") {
		t.Errorf("reason %q", change.Reason)
	}
	s.host.set(func(h *host) { h.positions["e1"] = 0 })
	eventually(t, "connected", func() bool {
		select {
		case c := <-p.peers:
			c.greet()
		default:
		}
		return s.host.last().State == bridge.Connected
	})
}

func TestDeadPeerIsNoticed(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.Ping, c.ReadIdle = 50*time.Millisecond, 300*time.Millisecond })
	c := p.ready(t)
	s.connected(t)
	for range 10 { // pongs keep it alive
		receive(t, c.pings, "a ping")
	}
	if got := s.host.states(); got != "connecting connected" {
		t.Errorf("states: %s", got)
	}
	c.mute.Store(true)
	s.in(t, bridge.Disconnected)
}

func TestPingsAreAnswered(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	if err := c.conn.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c.pongs, "a pong"); got != "there?" {
		t.Errorf("pong %q", got)
	}
}

func TestConfigFaultsTogether(t *testing.T) {
	_, err := New(Config{
		Definition: bridge.Definition{ID: "no spaces", Platform: "cloudapi", URL: "ws://example.com/?key=s3cr3t"},
		Env:        &Env{Ping: time.Minute, Handshake: -1},
	})
	for _, want := range []string{"host: missing", "tokens: missing", "id \"no spaces\"", "platform", "must be wss", "ping", "handshake"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v quotes the URL", err)
	}
	for target, ok := range map[string]bool{
		"wss://example.com/{session}": true, "ws://127.0.0.1:1": true, "ws://[::1]/x": true, "ws://localhost": true,
		"ws://10.0.0.1": false, "http://localhost": false, "": false, "wss://": false, "wss://u:p@example.com": false,
		"wss://example.com/#x": false, "://": false,
	} {
		c := Config{Definition: bridge.Definition{ID: "shop", URL: target}, Host: &host{}, Tokens: &tokens{}}
		if _, err := New(c); (err == nil) != ok {
			t.Errorf("%s: %v", target, err)
		}
	}
	c := Config{Definition: bridge.Definition{ID: "shop", URL: "ws://wasim:8080"}, Host: &host{}, Tokens: &tokens{}, Env: &Env{AllowInsecure: true}}
	if _, err := New(c); err != nil {
		t.Error(err)
	}
}
