package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// whatsapp starts a simulator with one public and one confidential client, a
// Chat API session "shop" and a Cloud API session "support".
func whatsapp(t *testing.T, change func(*simulator.Webhook)) (*simulator.Simulator, string) {
	t.Helper()
	hook := simulator.Webhook{URL: "http://127.0.0.1:1/webhook", AppID: "4242", AppSecret: "swordfish", Token: "sardine", PIN: "123456"}
	if change != nil {
		change(&hook)
	}
	sim, err := simulator.New(simulator.Config{
		Sessions: []simulator.SessionConfig{
			{ID: "shop"},
			{ID: "support", PhoneNumberID: "880090070060050", WABAID: "770010020030040", Webhook: &hook},
		},
		Clients: []simulator.Client{{ID: "public"}, {ID: "wabridge", Secret: "swordfish"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim, server.URL
}

var address = regexp.MustCompile(`http://\S+`)

// open opens an address as a browser does, redirects followed.
func open(t *testing.T, to string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(content)
}

// link waits for the last address on a screen.
func link(t *testing.T, s *screen) string {
	t.Helper()
	var all []string
	bridgetest.Eventually(t, 20*time.Second, func() bool {
		all = address.FindAllString(s.String(), -1)
		return len(all) > 0 && strings.HasSuffix(s.String(), "\n")
	}, "no address: %v", s)
	return all[len(all)-1]
}

func TestLoginInABrowser(t *testing.T) {
	environment(t)
	_, url := whatsapp(t, nil)
	file := filepath.Join(t.TempDir(), "token")
	s, stop := watch(t, "login", "--client-id", "public", "--auth-url", url+"/oauth/authorize", "--token-url", url+"/oauth/token", "--out", file)
	page := link(t, s)
	_, back, _ := strings.Cut(page, "redirect_uri=http%3A%2F%2F127.0.0.1%3A")
	port, _, _ := strings.Cut(back, "%2F")
	// Whoever does not know the state changes nothing.
	for _, forged := range []string{"/callback?code=x", "/callback?code=x&state=x", "/callback?error=access_denied", "/"} {
		if status, _ := open(t, "http://127.0.0.1:"+port+forged); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", forged, status)
		}
	}
	if status, body := open(t, page); status != http.StatusOK || !strings.Contains(body, "Logged in") {
		t.Errorf("status %d: %s", status, body)
	}
	bridgetest.Eventually(t, 20*time.Second, func() bool { return strings.Contains(s.String(), "refresh token is in") }, "no token: %v", s)
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v, %v", info, err)
	}
	token, err := os.ReadFile(file)
	if err != nil || len(token) < 10 || strings.Contains(s.String(), strings.TrimSpace(string(token))) {
		t.Errorf("the token, %d bytes, is printed or missing: %v", len(token), err)
	}
}

func TestLoginRefused(t *testing.T) {
	environment(t)
	_, url := whatsapp(t, nil)
	s, stop := watch(t, "login", "--client-id", "public", "--auth-url", url+"/oauth/authorize", "--token-url", url+"/oauth/token",
		"--scopes", "everything", "--show")
	if status, body := open(t, link(t, s)); status != http.StatusOK || !strings.Contains(body, "invalid_scope") {
		t.Errorf("status %d: %s", status, body)
	}
	bridgetest.Eventually(t, 20*time.Second, func() bool { return strings.Contains(s.String(), "refused the login: invalid_scope") }, "%v", s)
	if code := stop(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	r := command(t, "", "login", "--client-id", "public", "--auth-url", url+"/oauth/authorize", "--token-url", url+"/oauth/token",
		"--show", "--timeout", "50ms").want(t, exitTimedOut)
	if !strings.Contains(r.errors, "nobody logged in within 50ms") {
		t.Errorf("errors: %s", r.errors)
	}
}

// TestLoginOnADevice stores the token for a session, which a bridge then uses.
func TestLoginOnADevice(t *testing.T) {
	sim, url := whatsapp(t, nil)
	server := natsWithStreams(t)
	env := shop("NATS_URL="+server.URL(), "TOKEN_KEY="+strings.Repeat("ab", 32), "ADMIN_ADDR="+freeAddr(t),
		"SESSION_SHOP_URL=ws"+strings.TrimPrefix(url, "http")+"/v1/sessions/{session}/ws",
		"SESSION_SHOP_TOKEN_URL="+url+"/oauth/token", "SESSION_SHOP_REFRESH_TOKEN=stored:")
	environment(t, env...)
	run, stopRun := watch(t, "run")
	said := func(state bridge.State) func() bool {
		return func() bool { return shown(t, "shop").State == state }
	}
	// Nobody has logged in yet.
	bridgetest.Eventually(t, 30*time.Second, func() bool {
		return command(t, "", "sessions", "show", "shop").code == exitOK && said(bridge.Unauthorized)()
	}, "it is not unauthorized: %v", run)

	s, stop := watch(t, "login", "shop", "--device-url", url+"/oauth/device", "--store")
	if status, _ := open(t, link(t, s)); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	bridgetest.Eventually(t, 30*time.Second, func() bool { return strings.Contains(s.String(), "is stored for session shop") }, "not stored: %v", s)
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s)
	}
	command(t, "", "sessions", "resume", "shop").want(t, exitOK)
	bridgetest.Eventually(t, 30*time.Second, said(bridge.Connected), "it is not connected: %v", run)
	if v := sim.Violations(); len(v) > 0 {
		t.Errorf("violations: %+v", v)
	}
	if code := stopRun(); code != exitOK {
		t.Errorf("exit code %d: %s", code, run)
	}
}

// TestLoginJSON: what was kept and where, as JSON; the token with --show alone.
func TestLoginJSON(t *testing.T) {
	sim, url := whatsapp(t, nil)
	environment(t, cloud("SESSIONS=support", "SESSION_SUPPORT_APP_ID=4242", "SESSION_SUPPORT_APP_SECRET=swordfish", "GRAPH_URL="+url)...)
	for _, show := range []bool{false, true} {
		code, err := sim.SignupCode("support")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "token")
		args := []string{"login", "support", "--code", code, "--out", file, "--json"}
		if show {
			args = append(args, "--show")
		}
		var got kept
		if err := json.Unmarshal([]byte(command(t, "", args...).want(t, exitOK).out), &got); err != nil {
			t.Fatal(err)
		}
		token, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got.Session != "support" || got.Kind != "access_token" || got.File != file || got.Variable != "WABRIDGE_SESSION_SUPPORT_TOKEN_FILE" || got.Stored {
			t.Errorf("it says %+v", got)
		}
		if want := strings.TrimSpace(string(token)); show && got.Token != want || !show && got.Token != "" {
			t.Errorf("with --show %v the token has %d bytes", show, len(got.Token))
		}
	}
}

func TestLoginByEmbeddedSignup(t *testing.T) {
	sim, url := whatsapp(t, nil)
	environment(t, cloud("SESSIONS=support", "SESSION_SUPPORT_APP_ID=4242", "SESSION_SUPPORT_APP_SECRET=swordfish", "GRAPH_URL="+url)...)
	code, err := sim.SignupCode("support")
	if err != nil {
		t.Fatal(err)
	}
	r := command(t, "", "login", "support", "--code", code, "--show").want(t, exitOK)
	if len(strings.TrimSpace(r.out)) < 10 || strings.Contains(r.out, "swordfish") {
		t.Errorf("out: %q", r.out)
	}
	again := command(t, "", "login", "support", "--code", code, "--show").want(t, exitFailed)
	if again.out != "" || strings.Contains(again.errors, code) || strings.Contains(again.errors, "swordfish") {
		t.Errorf("a code used twice: %q %q", again.out, again.errors)
	}
}
