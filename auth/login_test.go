package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// waiting is a login that waits for its browser.
type waiting struct {
	page   url.Values // of the address that the person is shown
	back   string     // where the browser is sent back to
	cancel context.CancelFunc
	result chan loginResult
}

type loginResult struct {
	grant Grant
	err   error
}

// loginCode begins a login of a public client at server.
func loginCode(t *testing.T, server *oauthServer) *waiting {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := server.config()
	config.ClientSecret = ""
	ctx, cancel := context.WithCancel(t.Context())
	w := &waiting{cancel: cancel, result: make(chan loginResult, 1)}
	shown := make(chan string, 1)
	go func() {
		grant, err := LoginCode(ctx, LoginConfig{Config: config, AuthURL: server.URL + "/authorize?tenant=7"}, listener, func(a string) { shown <- a })
		w.result <- loginResult{grant, err}
	}()
	t.Cleanup(cancel)
	u, err := url.Parse(<-shown)
	if err != nil {
		t.Fatal(err)
	}
	w.page = u.Query()
	w.back = w.page.Get("redirect_uri")
	return w
}

// answer sends the browser back with these parameters.
func (w *waiting) answer(t *testing.T, method, path string, query url.Values) (status int, page string) {
	t.Helper()
	address := strings.TrimSuffix(w.back, callbackPath) + path + "?" + query.Encode()
	req, err := http.NewRequestWithContext(t.Context(), method, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// end waits for the login to end, and wants its listener closed by then.
func (w *waiting) end(t *testing.T) (Grant, error) {
	t.Helper()
	r := <-w.result
	u, err := url.Parse(w.back)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host); err == nil {
		t.Errorf("it still listens on %s: %v", u.Host, conn.Close())
	}
	return r.grant, r.err
}

func (w *waiting) state() string { return w.page.Get("state") }

func TestLoginCode(t *testing.T) {
	server := newOAuthServer(t)
	server.answer = respond(http.StatusOK, "application/json",
		`{"access_token":"access-1","token_type":"bearer","expires_in":3600,"refresh_token":"refresh-1","scope":"a b"}`)
	w := loginCode(t, server)
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "client", "scope": "a", "code_challenge_method": "S256", "tenant": "7",
	} {
		if got := w.page.Get(name); got != want {
			t.Errorf("the address asks for %s %q, want %q", name, got, want)
		}
	}
	if len(w.state()) < 20 || !strings.HasPrefix(w.back, "http://127.0.0.1:") {
		t.Errorf("state %q, back to %q", w.state(), w.back)
	}
	status, page := w.answer(t, http.MethodGet, callbackPath, url.Values{"state": {w.state()}, "code": {"the-code"}})
	if status != http.StatusOK || !strings.Contains(page, "Logged in") {
		t.Errorf("the browser sees %d %s", status, page)
	}
	grant, err := w.end(t)
	if err != nil {
		t.Fatal(err)
	}
	if grant.AccessToken != "access-1" || grant.RefreshToken != "refresh-1" || len(grant.Scopes) != 2 {
		t.Errorf("got %q, %q, scopes %q", grant.AccessToken, grant.RefreshToken, grant.Scopes)
	}
	asked := server.requests[0]
	sum := sha256.Sum256([]byte(asked.Get("code_verifier")))
	if got := base64.RawURLEncoding.EncodeToString(sum[:]); got != w.page.Get("code_challenge") {
		t.Errorf("the verifier has the challenge %q, shown was %q", got, w.page.Get("code_challenge"))
	}
	if asked.Get("code") != "the-code" || asked.Get("redirect_uri") != w.back || asked.Get("client_id") != "client" || server.basic[0] != ":" {
		t.Errorf("the token endpoint was asked %v as %q", asked, server.basic[0])
	}
}

// Who does not know the state is refused, and the login goes on.
func TestLoginCodeIgnoresStrangers(t *testing.T) {
	server := newOAuthServer(t)
	w := loginCode(t, server)
	state := w.state()
	for _, stranger := range []struct {
		method, path string
		query        url.Values
	}{
		{http.MethodGet, callbackPath, url.Values{"code": {"x"}}},
		{http.MethodGet, callbackPath, url.Values{"code": {"x"}, "state": {"x"}}},
		{http.MethodGet, callbackPath, url.Values{"code": {"x"}, "state": {strings.ToLower(state)}}},
		{http.MethodGet, callbackPath, url.Values{"code": {"x"}, "state": {state[:len(state)-1]}}},
		{http.MethodGet, callbackPath, url.Values{"error": {"access_denied"}, "state": {state + "x"}}},
		{http.MethodPost, callbackPath, url.Values{"code": {"x"}, "state": {state}}},
		{http.MethodGet, "/", url.Values{"code": {"x"}, "state": {state}}},
		{http.MethodGet, callbackPath + "/x", url.Values{"code": {"x"}, "state": {state}}},
	} {
		if status, page := w.answer(t, stranger.method, stranger.path, stranger.query); status != http.StatusBadRequest || strings.Contains(page, state) {
			t.Errorf("%s %s %v: %d %s", stranger.method, stranger.path, stranger.query, status, page)
		}
	}
	select {
	case r := <-w.result:
		t.Fatalf("the login ended: %v", r.err)
	default:
	}
	if n := server.count(); n != 0 {
		t.Errorf("the token endpoint was asked %d times", n)
	}
	w.answer(t, http.MethodGet, callbackPath, url.Values{"state": {state}, "code": {"x"}})
	if grant, err := w.end(t); err != nil || grant.AccessToken != "access-1" {
		t.Errorf("after them: %q, %v", grant.AccessToken, err)
	}
}

// An answer that is a refusal ends the login, without the text of the server.
func TestLoginCodeRefused(t *testing.T) {
	const described = "<script>the+description</script>"
	for _, tc := range []struct {
		name      string
		query     url.Values
		forbidden bool
		says      string
	}{
		{"denied", url.Values{"error": {"access_denied"}, "error_description": {described}}, true, "access_denied"},
		{"a word of its own", url.Values{"error": {described}}, true, "unknown error"},
		{"an endless word", url.Values{"error": {strings.Repeat("a", 65)}}, true, "unknown error"},
		{"denied, with a code", url.Values{"error": {"invalid_scope"}, "code": {"the-code"}}, true, "invalid_scope"},
		{"without a code", url.Values{}, false, "without a code"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := newOAuthServer(t)
			w := loginCode(t, server)
			tc.query.Set("state", w.state())
			_, page := w.answer(t, http.MethodGet, callbackPath, tc.query)
			noSecret(t, page, "script>", "description")
			_, err := w.end(t)
			if err == nil || errors.Is(err, ErrForbidden) != tc.forbidden || errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v, want %q", err, tc.says)
			}
			noSecret(t, err.Error(), "script", "description", "the-code")
			if n := server.count(); n != 0 {
				t.Errorf("the token endpoint was asked %d times", n)
			}
		})
	}
}

// A code that the token endpoint does not take.
func TestLoginCodeNotTaken(t *testing.T) {
	server := newOAuthServer(t)
	server.answer = respond(http.StatusBadRequest, "application/json", `{"error":"invalid_grant","error_description":"the-code is used up"}`)
	w := loginCode(t, server)
	w.answer(t, http.MethodGet, callbackPath, url.Values{"state": {w.state()}, "code": {"the-code"}})
	_, err := w.end(t)
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v, want a refusal", err)
	}
	noSecret(t, err.Error(), "the-code", server.requests[0].Get("code_verifier"))
}

// A browser that is closed, or leaves in the middle of its request, brings
// nobody: the login ends with its context, and its door is closed.
func TestLoginCodeWithoutABrowser(t *testing.T) {
	server := newOAuthServer(t)
	w := loginCode(t, server)
	u, err := url.Parse(w.back)
	if err != nil {
		t.Fatal(err)
	}
	for _, leaves := range []bool{true, false} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /callback?code=x&sta"); err != nil {
			t.Fatal(err)
		}
		if leaves {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		defer func() { _ = conn.Close() }() // the other side has closed it
	}
	w.cancel()
	if _, err := w.end(t); !errors.Is(err, ErrNobody) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	config := LoginConfig{Config: server.config(), AuthURL: server.URL}
	if _, err := LoginCode(ctx, config, listener, func(string) {}); !errors.Is(err, ErrNobody) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
	// By now the listener is closed: nobody can come back to it.
	if _, err := LoginCode(t.Context(), config, listener, func(string) {}); err == nil || errors.Is(err, ErrNobody) || !strings.Contains(err.Error(), "waiting for the browser") {
		t.Errorf("on a closed listener: %v", err)
	}
}

// What is wrong with the configuration is said before anybody is asked.
func TestLoginConfiguration(t *testing.T) {
	good := Config{TokenURL: "https://id.example/token", ClientID: "client"}
	for _, tc := range []struct {
		config LoginConfig
		says   string
	}{
		{LoginConfig{Config: good}, "want a full address"},
		{LoginConfig{Config: good, AuthURL: "id.example", DeviceURL: "id.example"}, "want a full address"},
		{LoginConfig{Config: good, AuthURL: "https://user:word@id.example", DeviceURL: "https://user:word@id.example"}, "want a full address"},
		{LoginConfig{Config: good, AuthURL: "http://id.example", DeviceURL: "http://id.example"}, "must be https"},
		{LoginConfig{Config: Config{ClientID: "client"}, AuthURL: "https://id.example", DeviceURL: "https://id.example"}, "token URL: missing"},
		{LoginConfig{Config: Config{TokenURL: good.TokenURL}, AuthURL: "https://id.example", DeviceURL: "https://id.example"}, "client id: missing"},
	} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = LoginCode(t.Context(), tc.config, listener, func(a string) { t.Errorf("it shows %s", a) })
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "word@") {
			t.Errorf("by code: %v, want %q", err, tc.says)
		}
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error("it left its listener open")
		}
		_, err = LoginDevice(t.Context(), tc.config, func(page, _, _ string) { t.Errorf("it shows %s", page) })
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "word@") {
			t.Errorf("by device: %v, want %q", err, tc.says)
		}
	}
}
