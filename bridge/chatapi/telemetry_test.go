package chatapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"wabridge/codec"
)

// lines is a log that several goroutines write.
type lines struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

// TestNothingLeaks runs a session through its troubles, and looks for tokens,
// numbers, ids and text in all that it says of itself.
func TestNothingLeaks(t *testing.T) {
	var log lines
	reader := sdkmetric.NewManualReader()
	recorder := tracetest.NewSpanRecorder()
	p := newPlatform(t)
	p.answering(func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n == 1 {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "secret-text")
		}
		return n == 1
	})
	instruments, err := NewMetrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, p, func(c *Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.TracerProvider = trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
		c.Metrics = instruments
		c.Ping = 10 * time.Millisecond
	})
	c := p.ready(t)
	s.connected(t)
	c.write(messageFrame(1, "whatsapp.message.text", `{"message":{"from":"15550142233","text":"secret-text"}}`))
	c.write(messageFrame(2, "whatsapp.message.text", `"secret-text"`))
	c.write("secret-text")
	c.acked(2)
	results := s.send("order")
	c.read(typeSend)
	c.accepted("order")
	class(t, results, codec.Accepted)
	c.message(5)
	c.ended()
	c = p.ready(t)
	c.message(5) // leaps over a gap: logged
	c.acked(5)
	c.close(4777, "secret-text of 15550142233")
	p.ready(t)
	eventually(t, "connected again", func() bool { return strings.Count(s.host.states(), "connected") >= 5 })
	s.stop()
	receive(t, s.done, "the end of Run")

	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &metrics); err != nil {
		t.Fatal(err)
	}
	said := log.buffer.String() + fmt.Sprintf("%+v", metrics.ScopeMetrics)
	for _, span := range recorder.Ended() {
		said += fmt.Sprint(span.Name(), span.Attributes(), span.Status(), span.Events())
	}
	for _, change := range s.host.changes {
		said += change.Reason
	}
	for _, secret := range []string{"secret", "15550142233", "wamid"} {
		if strings.Contains(said, secret) {
			t.Errorf("%q appears in %s", secret, said)
		}
	}
	for _, want := range []string{"events stay missing", "connect whatsapp", "close 4777"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not appear in %s", want, said)
		}
	}

	counted := map[string]int64{}
	for _, scoped := range metrics.ScopeMetrics {
		for _, m := range scoped.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok {
				for _, point := range sum.DataPoints {
					label := m.Name
					for _, attribute := range point.Attributes.ToSlice() {
						label += " " + attribute.Value.String()
					}
					counted[label] = point.Value
				}
			}
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
				counted[m.Name] = int64(h.DataPoints[0].Count)
			}
		}
	}
	for label, want := range map[string]int64{
		"wabridge.chatapi.frames in message": 3, "wabridge.chatapi.frames in poison": 2, "wabridge.chatapi.frames in result": 1,
		"wabridge.chatapi.frames in ready": 3, "wabridge.chatapi.frames out send": 1, "messaging.client.operation.duration": 1,
		"wabridge.chatapi.disconnects token": 1, "wabridge.chatapi.disconnects gap": 1, "wabridge.chatapi.disconnects lost": 1,
		"wabridge.chatapi.oddities gap": 1,
	} {
		if counted[label] != want {
			t.Errorf("%s is %d, want %d, in %v", label, counted[label], want, counted)
		}
	}
}

func TestOverTLS(t *testing.T) {
	p := newPlatform(t)
	secure := httptest.NewUnstartedServer(p.Config.Handler)
	secure.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // it tells of the refused certificate
	secure.StartTLS()
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	target := "wss" + strings.TrimPrefix(secure.URL, "https")
	s := start(t, p, func(c *Config) {
		c.Definition.URL = target
		c.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	})
	c := p.ready(t)
	s.connected(t)
	c.message(1)
	c.acked(1)

	wary := start(t, p, func(c *Config) { c.Definition.URL = target })
	elsewhere := start(t, p, func(c *Config) { // the certificate is of another name
		c.Definition.URL = strings.Replace(target, "127.0.0.1", "localhost", 1)
		c.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	})
	for _, refusing := range []*running{wary, elsewhere} {
		eventually(t, "the certificate is refused", func() bool { return strings.Contains(refusing.host.last().Reason, "certificate") })
	}
}
