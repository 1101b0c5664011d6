package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientCredentials(t *testing.T) {
	server := newOAuthServer(t)
	source := mustSource(t)(NewClientCredentials(server.config()))
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if token.AccessToken != "access-1" || !slices.Equal(token.Scopes, []string{"a", "b"}) {
		t.Errorf("token %q with scopes %q", token.AccessToken, token.Scopes)
	}
	if left := time.Until(token.Expiry); left < 59*time.Minute || left > time.Hour {
		t.Errorf("ends in %v, want an hour", left)
	}
	if again, err := source.Token(t.Context()); err != nil || again.AccessToken != token.AccessToken {
		t.Errorf("second call: %v, %v", again, err)
	}
	if got := server.basic[0]; got != "client:"+clientSecret {
		t.Errorf("credentials %q", got)
	}
	if n := server.count(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}

	source.Invalidate("another token")
	if again, err := source.Token(t.Context()); err != nil || again.AccessToken != "access-1" {
		t.Errorf("after invalidating another token: %v, %v", again, err)
	}
	source.Invalidate("access-1")
	if again, err := source.Token(t.Context()); err != nil || again.AccessToken != "access-2" {
		t.Errorf("after invalidating: %v, %v", again, err)
	}
}

func TestCredentialsInParams(t *testing.T) {
	server := newOAuthServer(t)
	config := server.config()
	config.InParams = true
	if _, err := mustSource(t)(NewClientCredentials(config)).Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := server.requests[0].Get("client_secret"); got != clientSecret || server.basic[0] != ":" {
		t.Errorf("secret in params %q, in header %q", got, server.basic[0])
	}
}

func TestOneFetchInFlight(t *testing.T) {
	server := newOAuthServer(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	server.answer = func(http.ResponseWriter, *http.Request) bool {
		close(arrived)
		<-release
		return false
	}
	source := mustSource(t)(NewClientCredentials(server.config()))

	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := source.Token(impatient)
		left <- err
	}()
	<-arrived
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if token, err := source.Token(t.Context()); err != nil || token.AccessToken != "access-1" {
				t.Errorf("%v, %v", token, err)
			}
		})
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("caller that left: %v", err)
	}
	close(release)
	wg.Wait()
	if n := server.count(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestErrorClasses(t *testing.T) {
	const leak = "leaked-s3cr3t-text"
	for name, test := range map[string]struct {
		status    int
		body      string
		refused   bool
		forbidden bool
	}{
		"invalid grant":            {400, `{"error":"invalid_grant","error_description":"` + leak + `"}`, true, false},
		"invalid client":           {401, `{"error":"invalid_client"}`, true, false},
		"invalid client with 200":  {200, `{"error":"invalid_client"}`, true, false},
		"bare 400":                 {400, leak, true, false},
		"bare 401":                 {401, leak, true, false},
		"unauthorized client":      {400, `{"error":"unauthorized_client"}`, false, true},
		"bare 403":                 {403, leak, false, true},
		"invalid scope":            {400, `{"error":"invalid_scope"}`, false, true},
		"temporarily unavailable":  {400, `{"error":"temporarily_unavailable"}`, false, false},
		"unknown code, 500":        {500, `{"error":"` + leak + `"}`, false, false},
		"unknown code, 400":        {400, `{"error":"` + leak + `"}`, true, false},
		"429":                      {429, leak, false, false},
		"503":                      {503, leak, false, false},
		"redirect":                 {302, leak, false, false},
		"not JSON":                 {200, leak, false, false},
		"no token":                 {200, `{"x":"` + leak + `"}`, false, false},
		"ended already":            {200, `{"access_token":"` + leak + `","expires_in":-5}`, false, false},
		"token no header can hold": {200, `{"access_token":"` + leak + `\r\nX: y"}`, false, false},
		"over 1 MiB":               {200, `{"pad":"` + strings.Repeat("x", 1<<20) + `","access_token":"` + leak + `"}`, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := newOAuthServer(t)
			server.answer = respond(test.status, "application/json", test.body)
			_, err := mustSource(t)(NewClientCredentials(server.config())).Token(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			if errors.Is(err, ErrRefused) != test.refused || errors.Is(err, ErrForbidden) != test.forbidden {
				t.Errorf("class of %v", err)
			}
			noSecret(t, fmt.Sprintf("%v %+v", err, err), leak, clientSecret)
			if n := server.count(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestUnreachableServer(t *testing.T) {
	server := newOAuthServer(t)
	config := server.config()
	config.TokenURL += "?key=" + clientSecret
	server.Close()
	_, err := mustSource(t)(NewClientCredentials(config)).Token(t.Context())
	if err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
	noSecret(t, fmt.Sprint(err), clientSecret)
}

func TestConfigFaults(t *testing.T) {
	_, err := NewClientCredentials(Config{TokenURL: "http://example.com/token"})
	for _, want := range []string{"client id", "client secret", "must be https"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	for tokenURL, allow := range map[string]bool{
		"https://example.com/t": false, "http://127.0.0.1:1/t": false, "http://[::1]/t": false,
		"http://localhost/t": false, "http://wasim:8080/t": true,
	} {
		c := Config{TokenURL: tokenURL, ClientID: "c", ClientSecret: "s", AllowInsecure: allow}
		if _, err := NewClientCredentials(c); err != nil {
			t.Errorf("%s: %v", tokenURL, err)
		}
	}
	for _, tokenURL := range []string{"", "::", "ftp://x/", "https://user:" + clientSecret + "@example.com/", "http://127.0.0.1.example.com/"} {
		_, err := NewRefreshToken(Config{TokenURL: tokenURL, ClientID: "c"}, "r", nil)
		if err == nil {
			t.Errorf("%q was taken", tokenURL)
		}
		noSecret(t, fmt.Sprint(err), clientSecret)
	}
	if _, err := NewRefreshToken(Config{TokenURL: "https://example.com", ClientID: "c"}, "", nil); err == nil {
		t.Error("a refresh token source without a refresh token was made")
	}
}

// expiring answers every request with a new token of the given life.
func expiring(seconds int, fail *atomic.Bool) (*http.Client, *atomic.Int64) {
	var n atomic.Int64
	return &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
		body, status := fmt.Sprintf(`{"access_token":"t%d","expires_in":%d}`, n.Add(1), seconds), 200
		if fail.Load() {
			body, status = "", 503
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	})}, &n
}

func TestRenewedBeforeExpiry(t *testing.T) {
	for _, seconds := range []int{2, 60, 3600, 86400} {
		synctest.Test(t, func(t *testing.T) {
			var fail atomic.Bool
			client, n := expiring(seconds, &fail)
			source := mustSource(t)(NewClientCredentials(Config{
				TokenURL: "https://example.com", ClientID: "c", ClientSecret: "s", Client: client,
			}))
			ctx := t.Context()
			first, err := source.Token(ctx)
			if err != nil {
				t.Fatal(err)
			}
			life := time.Duration(seconds) * time.Second
			renew := time.Until(RenewAt(first))
			if renew < life*7/10-time.Millisecond || renew >= life {
				t.Errorf("a token of %v is renewed after %v", life, renew)
			}
			<-time.After(renew - time.Millisecond) // the bubble's clock
			if again, err := source.Token(ctx); err != nil || again.AccessToken != "t1" {
				t.Errorf("just before: %v, %v", again, err)
			}
			<-time.After(time.Millisecond)
			if again, err := source.Token(ctx); err != nil || again.AccessToken != "t2" || n.Load() != 2 {
				t.Errorf("at the renewal: %v, %v after %d fetches", again, err, n.Load())
			}
		})
	}
}

func TestFailedEarlyRenewalKeepsTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		client, n := expiring(100, &fail)
		source := mustSource(t)(NewClientCredentials(Config{
			TokenURL: "https://example.com", ClientID: "c", ClientSecret: "s", Client: client,
		}))
		first, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fail.Store(true)
		<-time.After(time.Until(RenewAt(first)))
		kept, err := source.Token(t.Context())
		if err != nil || kept.AccessToken != "t1" || !RenewAt(kept).After(time.Now()) {
			t.Fatalf("%v, %v, next renewal in %v", kept, err, time.Until(RenewAt(kept)))
		}
		if _, err := source.Token(t.Context()); err != nil || n.Load() != 2 {
			t.Errorf("asked %d times, want 2: %v", n.Load(), err)
		}
		<-time.After(time.Until(first.Expiry))
		if _, err := source.Token(t.Context()); err == nil {
			t.Error("a token that has ended was given")
		}
		fail.Store(false)
		if _, err := source.Token(t.Context()); err != nil {
			t.Errorf("after the server came back: %v", err)
		}
	})
}

func TestStatic(t *testing.T) {
	if _, err := NewStatic(""); err == nil {
		t.Error("an empty token was taken")
	}
	source := mustSource(t)(NewStatic("fixed", "a"))
	source.Invalidate("fixed")
	token, err := source.Token(t.Context())
	if err != nil || token.AccessToken != "fixed" || !RenewAt(token).IsZero() {
		t.Errorf("%v, %v", token, err)
	}
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if _, err := NewFile(path); err == nil {
		t.Error("a file that does not exist was taken")
	}
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	source := mustSource(t)(NewFile(path))
	get := func() string {
		t.Helper()
		token, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !RenewAt(token).After(time.Now()) {
			t.Error("a token of a file is never asked for again")
		}
		return token.AccessToken
	}
	if got := get(); got != "one" {
		t.Errorf("got %q", got)
	}
	write("another\r\n")
	if got := get(); got != "another" {
		t.Errorf("got %q", got)
	}
	// Same size, same time: only Invalidate makes it look again.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write("changed\r\n")
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	source.Invalidate("another")
	if got := get(); got != "changed" {
		t.Errorf("got %q", got)
	}
	write("")
	if _, err := source.Token(t.Context()); err == nil {
		t.Error("an empty file gave a token")
	}
}

func TestTokenHidesItself(t *testing.T) {
	const secret = "EAAG-very-secret"
	token := Token{AccessToken: secret, Expiry: time.Now()}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("token", "token", token, "pointer", &token)
	marshalled, err := json.Marshal(map[string]any{"t": token, "p": &token})
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q %d %x %v", token, token, token, token, token, token, token, &token)
	noSecret(t, printed+log.String()+string(marshalled)+token.String(), secret, fmt.Sprintf("%x", secret))
	if !strings.Contains(log.String(), hidden) {
		t.Errorf("log %s", log.String())
	}
}
