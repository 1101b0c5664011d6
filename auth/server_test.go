package auth

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// oauthServer is a token endpoint whose refresh tokens rotate: the second use
// of one revokes them all, as RFC 9700 §4.14 asks for.
type oauthServer struct {
	*httptest.Server

	mu       sync.Mutex
	requests []url.Values
	basic    []string
	current  string // refresh token
	rotate   bool
	revoked  bool
	issued   int
	answer   func(w http.ResponseWriter, r *http.Request) bool // true: answered
}

func newOAuthServer(t *testing.T) *oauthServer {
	t.Helper()
	s := &oauthServer{current: "refresh-0", rotate: true}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *oauthServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "bad form", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.PostForm)
	id, secret, _ := r.BasicAuth()
	s.basic = append(s.basic, id+":"+secret)
	if s.answer != nil && s.answer(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	s.issued++
	if r.PostForm.Get("grant_type") != "refresh_token" {
		fmt.Fprintf(w, `{"access_token":"access-%d","token_type":"bearer","expires_in":3600,"scope":"a b"}`, s.issued)
		return
	}
	if r.PostForm.Get("refresh_token") != s.current || s.revoked {
		s.revoked = true
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"`+r.PostForm.Get("refresh_token")+`"}`)
		return
	}
	if s.rotate {
		s.current = fmt.Sprintf("refresh-%d", s.issued)
	}
	fmt.Fprintf(w, `{"access_token":"access-%d","token_type":"bearer","expires_in":3600,"refresh_token":%q}`, s.issued, s.current)
}

func (s *oauthServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *oauthServer) config() Config {
	return Config{TokenURL: s.URL + "/token", ClientID: "client", ClientSecret: clientSecret, Scopes: []string{"a"}}
}

const clientSecret = "s3cr3t-of-the-client"

// respond answers every request with status, content type and body.
func respond(status int, contentType, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return true
	}
}

// transport answers requests without a network, for tests in a synctest bubble.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func mustSource(t *testing.T) func(Source, error) Source {
	return func(s Source, err error) Source {
		t.Helper()
		if err != nil {
			t.Fatalf("making a source: %v", err)
		}
		return s
	}
}

func noSecret(t *testing.T, printed string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(printed, secret) {
			t.Errorf("%q holds the secret %q", printed, secret)
		}
	}
}
