package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wabridge/bridge/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server on a free port until the test ends.
func start(t *testing.T, cfg admin.Config) *admin.Server {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	s, err := admin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

func get(t *testing.T, s *admin.Server, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

type answer struct {
	Status string
	Checks map[string]string
}

func ready(t *testing.T, s *admin.Server) (int, answer) {
	t.Helper()
	status, body := get(t, s, "/readyz")
	var a answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return status, a
}

func TestReadyz(t *testing.T) {
	var broken atomic.Bool
	s := start(t, admin.Config{Checks: []admin.Check{
		{Name: "nats", Check: func(context.Context) error { return nil }},
		{Name: "members", Check: func(context.Context) error {
			if broken.Load() {
				return errors.New("no heartbeat for 3s")
			}
			return nil
		}},
	}})
	if status, a := ready(t, s); status != http.StatusOK || a.Status != "ok" || a.Checks["nats"] != "ok" || a.Checks["members"] != "ok" {
		t.Errorf("got %d %+v, want ready", status, a)
	}
	broken.Store(true)
	if status, a := ready(t, s); status != http.StatusServiceUnavailable || a.Status != "not ready" ||
		a.Checks["nats"] != "ok" || a.Checks["members"] != "no heartbeat for 3s" {
		t.Errorf("got %d %+v, want that members failed", status, a)
	}
	if status, body := get(t, s, "/livez"); status != http.StatusOK || body != "{\"status\":\"ok\"}\n" {
		t.Errorf("/livez: got %d %q while not ready", status, body)
	}
	broken.Store(false)
	if status, _ := ready(t, s); status != http.StatusOK {
		t.Errorf("got %d after it recovered", status)
	}
	s.Drain()
	if status, a := ready(t, s); status != http.StatusServiceUnavailable || a.Status != "draining" {
		t.Errorf("got %d %+v while draining", status, a)
	}
	if status, _ := get(t, s, "/livez"); status != http.StatusOK {
		t.Errorf("/livez: got %d while draining", status)
	}
}

func TestCheckThatHangs(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	s := start(t, admin.Config{
		CheckTimeout: 20 * time.Millisecond,
		Checks: []admin.Check{
			{Name: "deaf", Check: func(context.Context) error { <-hang; return nil }},
			{Name: "heeds", Check: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			{Name: "prompt", Check: func(context.Context) error { return nil }},
		},
	})
	status, a := ready(t, s)
	if status != http.StatusServiceUnavailable || a.Checks["prompt"] != "ok" {
		t.Errorf("got %d %+v", status, a)
	}
	for _, name := range []string{"deaf", "heeds"} {
		if a.Checks[name] != "no answer within 20ms" {
			t.Errorf("check %s: got %q", name, a.Checks[name])
		}
	}
}

func TestMetricsAndProfiles(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, "up 1\n"); err != nil {
			t.Error(err)
		}
	})
	with := start(t, admin.Config{Metrics: metrics, Profiling: true})
	if status, body := get(t, with, "/metrics"); status != http.StatusOK || body != "up 1\n" {
		t.Errorf("/metrics: got %d %q", status, body)
	}
	if status, body := get(t, with, "/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("profile: got %d %.60q", status, body)
	}
	without := start(t, admin.Config{})
	for _, path := range []string{"/metrics", "/debug/pprof/", "/"} {
		if status, _ := get(t, without, path); status != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
}

func TestTakenPort(t *testing.T) {
	s := start(t, admin.Config{})
	_, err := admin.New(admin.Config{Addr: s.Addr()})
	if err == nil || !strings.Contains(err.Error(), "WABRIDGE_ADMIN_ADDR") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v, want an error that names the variable", err)
	}
}

func TestFaultsAreNamed(t *testing.T) {
	_, err := admin.New(admin.Config{
		Addr: "nowhere", CheckTimeout: -1, Checks: []admin.Check{{Name: "nats"}},
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"WABRIDGE_ADMIN_ADDR", `check 0 ("nats")`, "timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestCloseWithoutRun(t *testing.T) {
	s, err := admin.New(admin.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	again, err := admin.New(admin.Config{Addr: s.Addr()})
	if err != nil {
		t.Fatalf("the address was not released: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
