package cloudapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

func TestConnect(t *testing.T) {
	server := newGraphServer(t)
	var limits Limits
	s := start(t, server.client(t), func(c *Config) { c.Limits = func(l Limits) { limits = l } })
	s.host.state(t, bridge.Connecting)
	change := s.host.state(t, bridge.Connected)
	if change.Reason != "" {
		t.Errorf("reason %q", change.Reason)
	}
	<-s.host.wakes
	if s.Window() != defaultWindow || s.Idempotent() {
		t.Errorf("window %d", s.Window())
	}
	if limits != DefaultLimits() {
		t.Errorf("limits %+v", limits)
	}
	if server.count("POST subscribed_apps") != 1 {
		t.Error("the app was not subscribed")
	}
	event, err := codec.ParseFieldEvent(next(t, s.host).Data)
	if err != nil {
		t.Fatal(err)
	}
	var found Inspection
	if err := json.Unmarshal(event.Value, &found); err != nil || event.Field != "session_token" || !found.Valid || len(found.Scopes) != 3 {
		t.Errorf("event %s %s: %v", event.Field, event.Value, err)
	}
	for range server.count("GET debug_token") {
		r := <-server.requests
		if got := r.header.Get("Authorization"); got != "Bearer "+testApp+"|"+testSecret {
			t.Errorf("inspected as %q", got)
		}
		if !strings.Contains(r.query, "input_token="+testToken) {
			t.Errorf("query %q", r.query)
		}
	}
	s.stop()
	if s.Window() != 0 {
		t.Error("the window stays open after the end")
	}
}

// inspected is an answer of debug_token.
func inspected(member string) []byte {
	return fmt.Appendf(nil, `{"data":{"app_id":%q,"is_valid":true,"expires_at":0,%s}}`, testApp, member)
}

func TestVerdicts(t *testing.T) {
	both := `"scopes":["whatsapp_business_messaging","whatsapp_business_management"]`
	tests := []struct {
		name   string
		status int
		body   []byte
		state  bridge.State
		reason string
	}{
		{"invalid", 200, corpus(t, "response/debug_token_invalid.json"), bridge.Unauthorized, "code 190, subcode 463"},
		{"no scopes", 200, inspected(`"scopes":[]`), bridge.Forbidden, ScopeMessaging},
		{"another account", 200, inspected(both + `,"granular_scopes":[{"scope":"whatsapp_business_messaging","target_ids":["1"]}]`), bridge.Forbidden, "does not reach"},
		{"all accounts", 200, inspected(both + `,"granular_scopes":[{"scope":"whatsapp_business_messaging"}]`), bridge.Connected, ""},
		{"no management", 200, inspected(`"scopes":["whatsapp_business_messaging"]`), bridge.Connected, ScopeManagement},
		{"ends soon", 200, inspected(both + `,"expires_at":` + fmt.Sprint(time.Now().Add(time.Hour).Unix())), bridge.Connected, "the token ends at"},
		{"another app", 200, fmt.Appendf(nil, `{"data":{"app_id":"1","is_valid":true,%s}}`, both), bridge.Connected, "another app"},
		{"may not inspect", 400, []byte(`{"error":{"code":100,"message":"no"}}`), bridge.Connected, "code 100"},
		{"wrong app secret", 400, []byte(`{"error":{"code":190,"message":"no"}}`), bridge.Connected, "code 190"},
		{"Graph is ill", 502, []byte(`<html>`), bridge.Disconnected, "HTTP 502"},
		{"no data", 200, []byte(`{}`), bridge.Disconnected, "no data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := newGraphServer(t)
			server.answer(t, "GET debug_token", test.status, test.body)
			s := start(t, server.client(t))
			if change := s.host.state(t, test.state); !strings.Contains(change.Reason, test.reason) {
				t.Errorf("reason %q, want %q", change.Reason, test.reason)
			}
			if open := s.Window() > 0; open != (test.state == bridge.Connected) {
				t.Errorf("window open: %t", open)
			}
		})
	}
}

// Without app credentials the token is inspected by itself, and a refusal is
// its own.
func TestInspectedByItself(t *testing.T) {
	server := newGraphServer(t)
	server.answer(t, "GET debug_token", 401, corpus(t, "error/e190_expired_463.json"))
	s := start(t, server.client(t, func(c *GraphConfig) { c.AppSecret = "" }))
	s.host.state(t, bridge.Unauthorized)
	r := <-server.requests
	if r.header.Get("Authorization") != "Bearer "+testToken || strings.Contains(r.query, "appsecret_proof") {
		t.Errorf("inspected with %q, %q", r.header.Get("Authorization"), r.query)
	}
}

func TestSubscriptionFailureIsAReason(t *testing.T) {
	server := newGraphServer(t)
	server.answer(t, "POST subscribed_apps", 403, corpus(t, "error/e200_permission.json"))
	s := start(t, server.client(t))
	if change := s.host.state(t, bridge.Connected); !strings.Contains(change.Reason, "subscribing the app") {
		t.Errorf("reason %q", change.Reason)
	}
}

func TestTokenLost(t *testing.T) {
	for _, file := range []string{"e0_auth", "e190_expired_463", "e190_app_removed_458", "e190_pwd_460"} {
		t.Run(file, func(t *testing.T) {
			server := newGraphServer(t)
			s := start(t, server.client(t))
			s.host.state(t, bridge.Connected)
			server.answer(t, "POST messages", 401, corpus(t, "error/"+file+".json"))
			if got := s.send(t, textBody); got.Class != codec.Unauthorized {
				t.Fatalf("got %+v", got)
			}
			s.host.state(t, bridge.Unauthorized)
			if s.Window() != 0 {
				t.Error("the window stays open")
			}
			if got := s.send(t, textBody); got.Class != codec.Transient {
				t.Errorf("sent while unauthorized: %+v", got)
			}
			// There is no other token, so nothing is asked again before the wait.
			if calls := server.count("GET debug_token"); calls != 1 {
				t.Errorf("%d inspections: a hot loop", calls)
			}
			server.answer(t, "POST messages", 200, corpus(t, "response/send_ok.json"))
			s.Resume()
			s.host.state(t, bridge.Connected)
			if got := s.send(t, textBody); got.Class != codec.Accepted {
				t.Errorf("after it came back: %+v", got)
			}
		})
	}
}

// A token file that has changed is read at once, without a state between.
func TestTokenReplaced(t *testing.T) {
	server := newGraphServer(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	source, err := auth.NewFile(file)
	if err != nil {
		t.Fatal(err)
	}
	server.on("POST messages", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer newer" {
			w.WriteHeader(http.StatusUnauthorized)
			// The operator replaces the file while the send is under way.
			write("newer")
			if _, err := w.Write(corpus(t, "error/e190_expired_463.json")); err != nil {
				t.Error(err)
			}
			return
		}
		if _, err := w.Write(corpus(t, "response/send_ok.json")); err != nil {
			t.Error(err)
		}
	})
	s := start(t, server.client(t, func(c *GraphConfig) { c.Token = source }))
	s.host.state(t, bridge.Connected)
	if got := s.send(t, textBody); got.Class != codec.Unauthorized {
		t.Fatalf("got %+v", got)
	}
	eventually(t, "the session opens with the new token", func() bool { return s.Window() > 0 })
	if got := s.send(t, textBody); got.Class != codec.Accepted {
		t.Errorf("got %+v", got)
	}
	select {
	case c := <-s.host.changes:
		if c.State == bridge.Unauthorized {
			t.Error("unauthorized although there was another token")
		}
	default:
	}
}

func TestForbiddenWaitsForResume(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	server.answer(t, "POST messages", 403, corpus(t, "error/e131031_locked.json"))
	if got := s.send(t, textBody); got.Class != codec.Denied {
		t.Fatalf("got %+v", got)
	}
	s.host.state(t, bridge.Forbidden)
	before := server.count("GET debug_token")
	s.Recheck()
	server.answer(t, "POST messages", 200, corpus(t, "response/send_ok.json"))
	if s.Window() != 0 || server.count("GET debug_token") != before {
		t.Error("it did not wait for someone")
	}
	s.Resume()
	s.host.state(t, bridge.Connected)
}

func TestRecheckFindsATokenThatIsGone(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	server.answer(t, "GET debug_token", 200, corpus(t, "response/debug_token_invalid.json"))
	s.Recheck()
	s.host.state(t, bridge.Unauthorized)
	s.stop()
	s.host.state(t, bridge.Stopped)
}

// A check does not go out on a connection that was idle: after a silent cut those
// lead nowhere.
func TestCheckTakesAFreshConnection(t *testing.T) {
	server := newGraphServer(t)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	valid := corpus(t, "response/debug_token_valid.json")
	checked := make(chan struct{}, 10)
	var mu sync.Mutex
	used := make(map[string]bool)
	server.on("GET debug_token", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		idle := used[r.RemoteAddr]
		used[r.RemoteAddr] = true
		mu.Unlock()
		if idle { // nothing comes through any more
			select {
			case <-over:
			case <-r.Context().Done():
			}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write(valid); err != nil {
			t.Errorf("answering: %v", err)
		}
		checked <- struct{}{}
	})
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	<-checked
	s.Recheck()
	select {
	case <-checked:
	case <-time.After(10 * time.Second):
		t.Error("the check went out on the idle connection")
	}
}

func TestCheckThatCannotBeMadeKeepsSending(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	server.answer(t, "GET debug_token", 502, []byte("<html>"))
	before := server.count("GET debug_token")
	s.Recheck()
	eventually(t, "the check is made", func() bool { return server.count("GET debug_token") > before })
	if got := s.send(t, textBody); got.Class != codec.Accepted {
		t.Errorf("got %+v", got)
	}
}

// A media id that Meta has dropped is the message's trouble; with a text the
// same code is the number's.
func TestGoneMediaIsNotAGoneNumber(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	server.answer(t, "POST messages", 400, []byte(`{"error":{"code":100,"error_subcode":33,"message":"gone"}}`))
	if got := s.give(t, &bridge.Outgoing{Type: "image", Body: corpus(t, "send/image_id.json")}); got.Class != codec.Permanent {
		t.Errorf("image: %+v", got)
	}
	if s.Window() == 0 {
		t.Error("the session closed")
	}
	if got := s.send(t, textBody); got.Class != codec.Denied {
		t.Errorf("text: %+v", got)
	}
	s.host.state(t, bridge.Forbidden)
}

func TestLimits(t *testing.T) {
	tests := []struct {
		body string
		want float64
	}{
		{`{}`, 80},
		{`{"throughput":{"level":"STANDARD"}}`, 80},
		{`{"throughput":{"level":"HIGH"}}`, 1000},
		{`{"is_on_biz_app":true,"throughput":{"level":"STANDARD"}}`, 20},
	}
	for _, test := range tests {
		var n phoneNumber
		if err := json.Unmarshal([]byte(test.body), &n); err != nil {
			t.Fatal(err)
		}
		if got := n.limits(); got.PerSecond != test.want || got.PairEvery != 6*time.Second || got.PairBurst != 45 {
			t.Errorf("%s: %+v", test.body, got)
		}
	}
}

// A number that Meta has upgraded has as much in flight as its rate needs.
func TestWindowFollowsTheLimits(t *testing.T) {
	server := newGraphServer(t)
	server.answer(t, "GET "+testPhone, 200, []byte(`{"throughput":{"level":"HIGH"}}`))
	heard := func(c *Config) { c.Limits = func(Limits) {} }
	s := start(t, server.client(t), heard)
	s.host.state(t, bridge.Connected)
	if got := s.Window(); got != 500 {
		t.Errorf("window %d, want 500", got)
	}
	s = start(t, server.client(t), heard, func(c *Config) { c.Window = 9 })
	s.host.state(t, bridge.Connected)
	if got := s.Window(); got != 9 {
		t.Errorf("window %d, want the one that was configured", got)
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{least: refusedLeast, most: refusedMost}
	for _, want := range []time.Duration{30, 60, 120, 240, 300, 300} {
		if got := b.wait(); got != want*time.Second {
			t.Errorf("waits %v, want %v s", got, int(want))
		}
	}
	b.reset()
	if got := b.wait(); got != refusedLeast {
		t.Errorf("after a reset %v", got)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := New(Config{ID: "shop", PhoneNumberID: "+1555 0100", WABAID: "../", Window: -1})
	if err == nil {
		t.Fatal("taken")
	}
	for _, fault := range []string{"phone number id", "WABA id", "no Graph", "no host", "negative"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not in %v", fault, err)
		}
	}
	if strings.Contains(err.Error(), "0100") {
		t.Error("a value is printed")
	}
}

func TestGraphConfig(t *testing.T) {
	tests := []struct {
		url, version string
		insecure, ok bool
	}{
		{"", "", false, true},
		{"https://graph.example:8443/base", "v27.0", false, true},
		{"http://127.0.0.1:9", "", false, true},
		{"http://[::1]:9", "", false, true},
		{"http://localhost:9", "", false, true},
		{"http://wasim:8080", "", false, false},
		{"http://wasim:8080", "", true, true},
		{"ftp://graph.example", "", true, false},
		{"https://user:secret@graph.example", "", false, false},
		{"https://graph.example/?a=b", "", false, false},
		{"graph.example", "", false, false},
		{"", "26", false, false},
		{"", "v26/../v1", false, false},
		{"", "v", false, false},
	}
	for _, test := range tests {
		_, err := NewGraph(GraphConfig{URL: test.url, Version: test.version, Insecure: test.insecure})
		if (err == nil) != test.ok {
			t.Errorf("%+v: %v", test, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v leaks", err)
		}
	}
}
