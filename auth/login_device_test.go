package auth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// deviceServer answers the device endpoint with issued, and then each question
// at the token endpoint with the next of answers; the last one stays.
type deviceServer struct {
	t       *testing.T
	issued  string
	answers []string

	begun time.Time
	asked []time.Duration // when, after the beginning
	forms []url.Values
}

const (
	devicePending = `{"error":"authorization_pending"}`
	deviceCode    = `{"device_code":"the-device-code","user_code":"ABCD-EFGH","verification_uri":"https://id.example/device",` +
		`"verification_uri_complete":"https://id.example/device?c=ABCD-EFGH","expires_in":600}`
	deviceCut   = "the connection is cut"
	deviceDown  = "<html>Bad Gateway</html>"
	deviceToken = `{"access_token":"access-1","token_type":"bearer","expires_in":3600,"refresh_token":"refresh-1"}`
)

func (s *deviceServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		s.t.Error(err)
	}
	status, body := http.StatusOK, s.issued
	if r.URL.Path == "/token" {
		s.asked, s.forms = append(s.asked, time.Since(s.begun)), append(s.forms, r.PostForm)
		body = s.answers[min(len(s.asked), len(s.answers))-1]
	} else if got := r.PostForm.Get("client_secret"); got != clientSecret {
		s.t.Errorf("the device endpoint was shown the secret %q", got)
	}
	switch {
	case body == deviceCut:
		return nil, io.ErrUnexpectedEOF
	case body == deviceDown:
		status = http.StatusBadGateway
	case strings.Contains(body, `"error"`):
		status = http.StatusBadRequest
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// login logs in by a device code, in a bubble.
func (s *deviceServer) login(ctx context.Context) (Grant, error) {
	s.begun = time.Now()
	return LoginDevice(ctx, LoginConfig{
		Config: Config{
			TokenURL: "https://id.example/token", ClientID: "client", ClientSecret: clientSecret, Scopes: []string{"a"},
			Client: &http.Client{Transport: s},
		},
		DeviceURL: "https://id.example/code",
	}, func(page, code, complete string) {
		if page != "https://id.example/device" || code != "ABCD-EFGH" || complete != "https://id.example/device?c=ABCD-EFGH" {
			s.t.Errorf("shown %q, %q, %q", page, code, complete)
		}
	})
}

func seconds(list ...int) []time.Duration {
	var all []time.Duration
	for _, n := range list {
		all = append(all, time.Duration(n)*time.Second)
	}
	return all
}

// It asks every five seconds, and every ten once the server wants that.
func TestLoginDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &deviceServer{t: t, issued: deviceCode, answers: []string{devicePending, `{"error":"slow_down"}`, devicePending, deviceToken}}
		grant, err := s.login(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if grant.AccessToken != "access-1" || grant.RefreshToken != "refresh-1" {
			t.Errorf("got %q, %q", grant.AccessToken, grant.RefreshToken)
		}
		if want := seconds(5, 10, 20, 30); !slices.Equal(s.asked, want) {
			t.Errorf("asked at %v, want %v", s.asked, want)
		}
		if f := s.forms[0]; f.Get("device_code") != "the-device-code" || f.Get("grant_type") != "urn:ietf:params:oauth:grant-type:device_code" {
			t.Errorf("asked with %v", f)
		}
	})
}

func TestLoginDeviceEnds(t *testing.T) {
	for _, tc := range []struct {
		name, issued string
		answers      []string
		after        time.Duration // that the login ends by itself
		is           error
		says         string
	}{
		{"denied", deviceCode, []string{devicePending, `{"error":"access_denied","error_description":"the-device-code"}`}, 10 * time.Second, ErrForbidden, "access_denied"},
		{"the server says that the code ended", deviceCode, []string{devicePending, `{"error":"expired_token"}`}, 10 * time.Second, ErrNobody, "before the code ended"},
		{"the code ended", strings.Replace(deviceCode, "600", "12", 1), []string{devicePending}, 12 * time.Second, ErrNobody, "before the code ended"},
		{"the code was never one", deviceCode, []string{`{"error":"invalid_grant"}`}, 5 * time.Second, ErrRefused, "invalid_grant"},
		{"no patience", deviceCode, []string{devicePending}, time.Minute, ErrNobody, "nobody logged in"},
		{"no device code for this client", `{"error":"unauthorized_client","error_description":"the-device-code"}`, nil, 0, ErrForbidden, "unauthorized_client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s := &deviceServer{t: t, issued: tc.issued, answers: tc.answers}
				_, err := s.login(ctx)
				if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
					t.Fatalf("got %v, want %q", err, tc.says)
				}
				noSecret(t, err.Error(), "the-device-code", clientSecret)
				if took := time.Since(s.begun); took != tc.after {
					t.Errorf("it took %v, want %v", took, tc.after)
				}
				if outOfTime := errors.Is(err, context.DeadlineExceeded); outOfTime != (tc.after == time.Minute) {
					t.Errorf("out of our time: %v: %v", outOfTime, err)
				}
			})
		})
	}
}

// A network that fails, or a server, ends no login: it is asked half as often.
func TestLoginDeviceOutlastsTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &deviceServer{t: t, issued: deviceCode, answers: []string{devicePending, deviceCut, deviceDown, `{"error":"server_error"}`, deviceToken}}
		grant, err := s.login(t.Context())
		if err != nil || grant.AccessToken != "access-1" {
			t.Fatalf("got %q, %v", grant.AccessToken, err)
		}
		if want := seconds(5, 10, 20, 40, 80); !slices.Equal(s.asked, want) {
			t.Errorf("asked at %v, want %v", s.asked, want)
		}

		s = &deviceServer{t: t, issued: deviceCode, answers: []string{deviceCut}}
		if _, err := s.login(t.Context()); !errors.Is(err, ErrNobody) || time.Since(s.begun) != 600*time.Second {
			t.Errorf("a network that is down for good gives %v after %v", err, time.Since(s.begun))
		}
	})
}

// A server may name any interval: none ends the program, or makes a hot loop.
func TestLoginDeviceIntervals(t *testing.T) {
	for interval, want := range map[string]time.Duration{
		"2": 2 * time.Second, "0": 5 * time.Second, "-1": 5 * time.Second, "86400": longestPoll * time.Second, "9223372036854775807": longestPoll * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &deviceServer{t: t, issued: strings.Replace(deviceCode, `"expires_in"`, `"interval":`+interval+`,"expires_in"`, 1), answers: []string{deviceToken}}
			if _, err := s.login(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(s.asked, []time.Duration{want}) {
				t.Errorf("interval %s: asked at %v, want %v", interval, s.asked, want)
			}
		})
	}
}
