package cloudapi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"wabridge/bridge"
)

// taker stores everything at once.
type taker struct{}

func (taker) Receive(_ context.Context, in *bridge.Inbound) error {
	in.Acker.Stored(in, nil)
	return nil
}

// statusWriter keeps the status alone.
type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header         { return w.header }
func (w *statusWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *statusWriter) WriteHeader(status int)      { w.status = status }

// strangers are requests that are refused, and a good one to compare with.
func strangers(body []byte) []stranger {
	return []stranger{
		{"good", "application/json", sign(testSecret, body), int64(len(body)), 200},
		{"forged", "application/json", "sha256=" + strings.Repeat("ab", 32), int64(len(body)), 401},
		{"unsigned", "application/json", "", int64(len(body)), 401},
		{"malformed", "application/json", "sha256=short", int64(len(body)), 401},
		{"mistyped", "text/plain", sign(testSecret, body), int64(len(body)), 415},
		{"huge", "application/json", sign(testSecret, body), 100 << 20, 413},
	}
}

type stranger struct {
	name, contentType, signature string
	length                       int64
	status                       int
}

// BenchmarkRefusal is what the handler spends on each, without the connection.
func BenchmarkRefusal(b *testing.B) {
	routes := NewRoutes()
	if err := routes.Add(Route{
		Session: "shop", PhoneNumberID: testPhone, WABAID: testWABA, AppID: testApp, AppSecret: testSecret, Receiver: taker{},
	}); err != nil {
		b.Fatal(err)
	}
	h, err := NewWebhooks(WebhooksConfig{Routes: routes, Unrouted: taker{}, Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Close)
	body := corpus(b, "webhook/msg_text.json")
	for _, kind := range strangers(body) {
		b.Run(kind.name, func(b *testing.B) {
			in := bytes.NewReader(body)
			r := (&http.Request{
				Method: http.MethodPost, URL: &url.URL{Path: WebhookPath}, Body: io.NopCloser(in), ContentLength: kind.length,
				Header: http.Header{"Content-Type": {kind.contentType}, signatureHeader: {kind.signature}},
			}).WithContext(b.Context())
			w := &statusWriter{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				in.Reset(body)
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if w.status != kind.status {
				b.Fatalf("status %d, want %d", w.status, kind.status)
			}
		})
	}
}

// BenchmarkForged is what a forged request costs with its connection: a new one
// for each, and the same one again.
func BenchmarkForged(b *testing.B) {
	h := startHooks(b)
	addr := strings.TrimSuffix(strings.TrimPrefix(h.url, "http://"), WebhookPath)
	body := corpus(b, "webhook/msg_text.json")
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Hub-Signature-256: sha256=%s\r\nContent-Length: %d\r\n\r\n%s",
		WebhookPath, strings.Repeat("ab", 32), len(body), body)
	var dialer net.Dialer
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := dialer.DialContext(b.Context(), "tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	post := func(conn net.Conn, in *bufio.Reader) {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close() //nolint:errcheck // it was read
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			b.Fatalf("status %d, %v", res.StatusCode, err)
		}
	}
	b.Run("new connection", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			conn, in := dial()
			post(conn, in)
			_ = conn.Close() // the server may have been first
		}
	})
	b.Run("same connection", func(b *testing.B) {
		b.ReportAllocs()
		conn, in := dial()
		defer conn.Close() //nolint:errcheck // the benchmark is over
		for b.Loop() {
			post(conn, in)
		}
	})
}
