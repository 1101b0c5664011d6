package cloudapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestRefusals(t *testing.T) {
	h := startHooks(t, func(c *WebhooksConfig) { c.ReadTimeout = 1500 * time.Millisecond })
	body := message(testPhone, "wamid.1", `"x"`)
	good := sign(testSecret, body)
	huge := bytes.Repeat([]byte("x"), maxWebhook+1)
	tests := []struct {
		name   string
		status int
		send   func(*testing.T) int
	}{
		{"forged", 401, func(t *testing.T) int { return h.post(t, body, signatureHeader, sign("guess", body)) }},
		{"unsigned", 401, func(t *testing.T) int { return h.post(t, body, signatureHeader, "") }},
		{"signed with SHA-1", 401, func(t *testing.T) int { return h.post(t, body, signatureHeader, "sha1="+good[7:47]) }},
		{"half a signature", 401, func(t *testing.T) int { return h.post(t, body, signatureHeader, good[:20]) }},
		{"not hex", 401, func(t *testing.T) int { return h.post(t, body, signatureHeader, "sha256="+strings.Repeat("z", 64)) }},
		{"another body's signature", 401, func(t *testing.T) int { return h.post(t, append(body, ' '), signatureHeader, good) }},
		{"a form", 415, func(t *testing.T) int { return h.post(t, body, "Content-Type", "application/x-www-form-urlencoded") }},
		{"no type", 415, func(t *testing.T) int { return h.post(t, body, "Content-Type", "") }},
		{"UTF-16", 415, func(t *testing.T) int { return h.post(t, body, "Content-Type", "application/json; charset=utf-16") }},
		{"gzip", 415, func(t *testing.T) int { return h.post(t, body, "Content-Encoding", "gzip") }},
		{"oversized", 413, func(t *testing.T) int { return h.post(t, huge) }},
		{"oversized in chunks", 413, func(t *testing.T) int {
			return postTo(t, h.url, struct{ io.Reader }{bytes.NewReader(huge)}, signatureHeader, sign(testSecret, huge))
		}},
		{"elsewhere", 404, func(t *testing.T) int {
			return postTo(t, strings.TrimSuffix(h.url, WebhookPath)+"/other", bytes.NewReader(body), signatureHeader, good)
		}},
		{"unknown app", 404, func(t *testing.T) int { return postTo(t, h.url+"/999", bytes.NewReader(body), signatureHeader, good) }},
		{"longer path", 404, func(t *testing.T) int { return postTo(t, h.url+"s", bytes.NewReader(body), signatureHeader, good) }},
		{"slow", 408, func(t *testing.T) int { return raw(t, h.url, body[:10], len(body), good, false) }},
		{"truncated", 400, func(t *testing.T) int { return raw(t, h.url, body[:10], len(body), good, true) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if status := test.send(t); status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			h.nothing(t)
		})
	}
	if status := h.post(t, body); status != 200 {
		t.Errorf("a good one after all that: status %d", status)
	}
	next(t, h.shop)
	if !h.space.TryAcquire(webhookSpace) {
		t.Error("space was not given back")
	}
}

// A forged request leaves its connection open, and what does not look signed is
// refused before its body has come.
func TestForgedIsCheap(t *testing.T) {
	h := startHooks(t)
	body := message(testPhone, "wamid.1", `"x"`)
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(h.url, "http://"), WebhookPath))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's end
	in := bufio.NewReader(conn)
	for i, request := range []struct {
		signature string
		status    int
	}{{sign("guess", body), 401}, {sign("guess", body), 401}, {"sha256=", 401}, {sign(testSecret, body), 200}} {
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
			WebhookPath, signatureHeader, request.signature, len(body), body)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close() //nolint:errcheck // it was read
		if err != nil || res.StatusCode != request.status {
			t.Errorf("request %d: status %d, want %d, %v", i, res.StatusCode, request.status, err)
		}
	}
	next(t, h.shop)

	unread := httptest.NewRequest(http.MethodPost, WebhookPath, iotest.ErrReader(errors.New("it was read")))
	unread.Header.Set("Content-Type", "application/json")
	for _, signature := range []string{"", "sha256=", "sha1=" + strings.Repeat("ab", 32), "sha256=" + strings.Repeat("xy", 32)} {
		unread.Header.Set(signatureHeader, signature)
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, unread)
		if answer.Code != http.StatusUnauthorized {
			t.Errorf("signature %q: status %d, want 401", signature, answer.Code)
		}
	}
}

// raw writes a request by hand: part of the body, then silence or the end.
func raw(t *testing.T, address string, part []byte, length int, signature string, end bool) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's end
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
		u.Path, signatureHeader, signature, length, part)
	if tcp, ok := conn.(*net.TCPConn); ok && end {
		if err := tcp.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	var proto string
	var status int
	if _, err := fmt.Fscan(conn, &proto, &status); err != nil {
		t.Fatal(err)
	}
	return status
}

// Whoever does not send what was announced loses the connection, whatever the
// answer is: a server reads to the end of a body before it closes.
func TestSlowSendersLoseTheirConnection(t *testing.T) {
	h := startHooks(t, func(c *WebhooksConfig) { c.ReadTimeout = 200 * time.Millisecond })
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	for name, head := range map[string]string{
		"body":        "POST " + WebhookPath + " HTTP/1.1\r\nContent-Type: application/json\r\n" + signatureHeader + ": sha256=00\r\n",
		"unsigned":    "POST " + WebhookPath + " HTTP/1.1\r\nContent-Type: application/json\r\n",
		"elsewhere":   "POST /other HTTP/1.1\r\n",
		"a handshake": "GET " + WebhookPath + " HTTP/1.1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", u.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // a test's end
			if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "%sHost: x\r\nContent-Length: 100\r\n\r\n{", head)
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
		})
	}
}

func TestMethods(t *testing.T) {
	h := startHooks(t)
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodHead} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, WebhookPath, http.NoBody))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, POST" {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

func TestHandshake(t *testing.T) {
	h := startHooks(t)
	tests := []struct {
		path, mode, token, challenge string
		status                       int
	}{
		{"", "subscribe", testVerify, "1158201444", 200},
		{"/" + testApp, "subscribe", testVerify, "<b>", 200},
		{"", "subscribe", "wrong", "1", 403},
		{"", "subscribe", "", "1", 403},
		{"", "unsubscribe", testVerify, "1", 403},
		{"", "subscribe", testVerify, "", 403},
		{"/1", "subscribe", testVerify, "1", 404},
	}
	for _, test := range tests {
		query := url.Values{"hub.mode": {test.mode}, "hub.verify_token": {test.token}, "hub.challenge": {test.challenge}}
		res, err := http.Get(h.url + test.path + "?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close() //nolint:errcheck // a test
		if res.StatusCode != test.status {
			t.Errorf("%+v: status %d", test, res.StatusCode)
		}
		if test.status == 200 && (string(body) != test.challenge || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain")) {
			t.Errorf("%+v: %q as %s", test, body, res.Header.Get("Content-Type"))
		}
	}
}
