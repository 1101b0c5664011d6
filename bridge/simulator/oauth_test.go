package simulator_test

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"wabridge/bridge/simulator"
)

func TestTokenEndpoint(t *testing.T) {
	p := newPlatform(t, func(c *simulator.Config) { c.Clients[0].TokenTTL = simulator.Duration(2e9) })
	for _, tc := range []struct {
		name           string
		form           url.Values
		client, secret string
		status         int
		code           string
	}{
		{"well", url.Values{"grant_type": {"client_credentials"}}, "bridge", "s3cret", 200, ""},
		{"in the form", url.Values{"grant_type": {"client_credentials"}, "client_id": {"bridge"}, "client_secret": {"s3cret"}}, "", "", 200, ""},
		{"both ways", url.Values{"grant_type": {"client_credentials"}, "client_secret": {"s3cret"}}, "bridge", "s3cret", 400, "invalid_request"},
		{"wrong secret", url.Values{"grant_type": {"client_credentials"}}, "bridge", "wrong", 401, "invalid_client"},
		{"unknown client", url.Values{"grant_type": {"client_credentials"}}, "other", "", 401, "invalid_client"},
		{"no grant", url.Values{}, "bridge", "s3cret", 400, "invalid_request"},
		{"twice", url.Values{"grant_type": {"client_credentials", "x"}}, "bridge", "s3cret", 400, "invalid_request"},
		{"other grant", url.Values{"grant_type": {"password"}}, "bridge", "s3cret", 400, "unsupported_grant_type"},
		{"scope", url.Values{"grant_type": {"client_credentials"}, "scope": {simulator.ScopeMessaging}}, "bridge", "s3cret", 200, ""},
		{"other scope", url.Values{"grant_type": {"client_credentials"}, "scope": {"admin"}}, "bridge", "s3cret", 400, "invalid_scope"},
		{"no refresh token", url.Values{"grant_type": {"refresh_token"}}, "bridge", "s3cret", 400, "invalid_request"},
		{"unknown refresh token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, "bridge", "s3cret", 400, "invalid_grant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, answer := p.form(t, "/oauth/token", tc.form, tc.client, tc.secret)
			code, _ := answer["error"].(string)
			if status != tc.status || code != tc.code {
				t.Fatalf("got %d %v", status, answer)
			}
			if status == 200 && (answer["expires_in"] != 2.0 || answer["token_type"] != "bearer" || answer["access_token"] == "") {
				t.Errorf("answer: %v", answer)
			}
		})
	}
}

func TestRefreshTokenIsRotated(t *testing.T) {
	p := newPlatform(t, func(c *simulator.Config) { c.Clients[0].RefreshToken = "first" })
	refresh := func(token string) (int, map[string]any) {
		return p.form(t, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, "bridge", "s3cret")
	}
	status, answer := refresh("first")
	if status != 200 || answer["refresh_token"] == "first" {
		t.Fatalf("got %d %v", status, answer)
	}
	second := answer["refresh_token"].(string)
	l := p.dial(t, answer["access_token"].(string))
	l.expect("whatsapp.session.ready")
	if status, answer = refresh("first"); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("a used token: %d %v", status, answer)
	}
	if ce := l.closed(); ce.Code != 4401 {
		t.Errorf("the family lives: %v", ce)
	}
	if status, _ = refresh(second); status != 400 {
		t.Errorf("the family's newest: %d", status)
	}
	if v := p.Violations(); len(v) != 1 || v[0].Rule != "refresh-token-reused" {
		t.Errorf("violations: %v", v)
	}
}

func TestAuthorizationCode(t *testing.T) {
	p := newPlatform(t, func(c *simulator.Config) { c.Clients = append(c.Clients, simulator.Client{ID: "public"}) })
	back := "http://127.0.0.1:1/callback"
	authorize := func(change url.Values) url.Values {
		sum := sha256.Sum256([]byte("verifier"))
		q := url.Values{
			"response_type": {"code"}, "client_id": {"public"}, "redirect_uri": {back}, "state": {"s"},
			"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
		}
		maps.Copy(q, change)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/oauth/authorize?"+q.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // only the header matters
		u, err := resp.Location()
		if err != nil {
			return url.Values{"status": {resp.Status}}
		}
		return u.Query()
	}
	if q := authorize(url.Values{"redirect_uri": {"https://elsewhere.example/"}}); q.Get("status") != "400 Bad Request" {
		t.Errorf("redirect elsewhere: %v", q)
	}
	if q := authorize(url.Values{"code_challenge": {""}}); q.Get("error") != "invalid_request" || q.Get("state") != "s" {
		t.Errorf("without PKCE: %v", q)
	}
	fetch := func(code, verifier string) (int, map[string]any) {
		return p.form(t, "/oauth/token", url.Values{
			"grant_type": {"authorization_code"}, "client_id": {"public"}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier},
		}, "", "")
	}
	if status, answer := fetch(authorize(nil).Get("code"), "wrong"); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("wrong verifier: %d %v", status, answer)
	}
	code := authorize(nil).Get("code")
	status, answer := fetch(code, "verifier")
	if status != 200 || answer["refresh_token"] == nil {
		t.Fatalf("got %d %v", status, answer)
	}
	if status, _ := fetch(code, "verifier"); status != 400 {
		t.Errorf("a code was used twice: %d", status)
	}
	p.dial(t, answer["access_token"].(string)).expect("whatsapp.session.ready")
}

func TestDeviceCode(t *testing.T) {
	p := newPlatform(t, nil)
	status, start := p.form(t, "/oauth/device", url.Values{}, "bridge", "s3cret")
	if status != 200 {
		t.Fatalf("got %d %v", status, start)
	}
	poll := func() (int, map[string]any) {
		return p.form(t, "/oauth/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {start["device_code"].(string)},
		}, "bridge", "s3cret")
	}
	if _, answer := poll(); answer["error"] != "authorization_pending" {
		t.Errorf("before: %v", answer)
	}
	if _, answer := poll(); answer["error"] != "slow_down" {
		t.Errorf("at once again: %v", answer)
	}
	page := strings.TrimPrefix(start["verification_uri_complete"].(string), p.url)
	if status, answer := p.call(t, "GET", page, ""); status != 200 {
		t.Errorf("activate: %d %v", status, answer)
	}
	eventually(t, "the token", func() bool {
		status, answer := poll()
		return status == 200 && answer["refresh_token"] != nil
	})
	if status, answer := poll(); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("used twice: %d %v", status, answer)
	}
}

func TestRevocation(t *testing.T) {
	p := newPlatform(t, nil)
	token := p.token(t)
	l := p.dial(t, token)
	l.expect("whatsapp.session.ready")
	if status, answer := p.form(t, "/oauth/revoke", url.Values{"token": {token}}, "bridge", "s3cret"); status != 200 {
		t.Fatalf("got %d %v", status, answer)
	}
	if ce := l.closed(); ce.Code != 4401 {
		t.Errorf("closed with %d", ce.Code)
	}
}

func TestTokenEndpointFaults(t *testing.T) {
	p := newPlatform(t, nil)
	p.fault(t, simulator.Fault{Kind: simulator.FaultToken, Code: 503})
	p.fault(t, simulator.Fault{Kind: simulator.FaultToken, Code: 400, Reason: "invalid_grant"})
	form := url.Values{"grant_type": {"client_credentials"}}
	if status, _ := p.form(t, "/oauth/token", form, "bridge", "s3cret"); status != 503 {
		t.Errorf("status %d", status)
	}
	if status, answer := p.form(t, "/oauth/token", form, "bridge", "s3cret"); status != 400 || answer["error"] != "invalid_grant" {
		t.Errorf("status %d: %v", status, answer)
	}
	if status, _ := p.form(t, "/oauth/token", form, "bridge", "s3cret"); status != 200 {
		t.Errorf("status %d", status)
	}
}
