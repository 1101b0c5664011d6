package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzAnswer feeds a token endpoint's answer: whatever it is, the result is a
// token that a header can carry, or an error that repeats none of it.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"abcdefgh","expires_in":3600,"scope":"a b","refresh_token":"r"}`)
	f.Add(200, "application/x-www-form-urlencoded", "access_token=abc&expires_in=5")
	f.Add(200, "text/plain", "access_token=a%0Ab")
	f.Add(400, "application/json", `{"error":"invalid_grant","error_description":"the secret text"}`)
	f.Add(200, "application/json", `{"access_token":"x","expires_in":"99999999999999999999"}`)
	f.Add(200, "", `{"access_token":"x","expires_in":-1}`)
	f.Add(302, "text/html", "<html>")
	f.Fuzz(func(t *testing.T, status int, contentType, body string) {
		client := &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {contentType}},
				Body: io.NopCloser(strings.NewReader(body)),
			}, nil
		}), CheckRedirect: NewHTTPClient().CheckRedirect}
		config := Config{TokenURL: "https://example.com", ClientID: "c", ClientSecret: clientSecret, Client: client}
		source, err := NewRefreshToken(config, "the-refresh-token", nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := source.Token(context.Background())
		if err != nil {
			if errors.Is(err, ErrRefused) && errors.Is(err, ErrForbidden) {
				t.Errorf("two classes: %v", err)
			}
			noSecret(t, err.Error(), clientSecret, "the-refresh-token")
			if len(body) > 40 && strings.Contains(err.Error(), body) {
				t.Errorf("%v repeats the answer", err)
			}
			return
		}
		if token.AccessToken == "" || strings.ContainsAny(token.AccessToken, "\r\n\x00 ") {
			t.Errorf("token %q", token.AccessToken)
		}
		if !token.Expiry.IsZero() && !RenewAt(token).Before(token.Expiry.Add(time.Nanosecond)) {
			t.Errorf("renewed at %v, after its end %v", RenewAt(token), token.Expiry)
		}
	})
}

// FuzzOpen feeds what is read from a store.
func FuzzOpen(f *testing.F) {
	key := Key{1}
	sealed, err := Seal(key, []byte("token"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		opened, err := Open(key, raw, nil)
		if err == nil && string(opened) != "token" {
			t.Errorf("forged %q", opened)
		}
	})
}

// FuzzParse feeds the parsers of keys, references and signatures.
func FuzzParse(f *testing.F) {
	f.Add("value:x")
	f.Add("sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
	f.Add("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
	f.Fuzz(func(t *testing.T, s string) {
		if VerifySignature([]string{"k"}, []byte("b"), s) && !strings.EqualFold(s, "sha256="+AppSecretProof("k", "b", time.Time{})) {
			t.Errorf("%q verified", s)
		}
		if key, err := ParseKey(s); err == nil {
			if again, err := ParseKey(hex.EncodeToString(key[:])); err != nil || again != key {
				t.Errorf("%q does not survive being written as hexadecimal: %v", s, err)
			}
		}
		if strings.HasPrefix(s, "value:") {
			if got, err := Resolve(s); (err == nil) != (len(s) > 6) || got != s[6:] {
				t.Errorf("%q resolves to %q, %v", s, got, err)
			}
		}
	})
}
