package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// output is a writer that tells when something was written.
type output struct {
	mu   sync.Mutex
	text strings.Builder
	said chan struct{}
	once sync.Once
}

func newOutput() *output { return &output{said: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.text.Write(b)
	o.once.Do(func() { close(o.said) })
	return n, err
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func TestRunServesUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, errs := newOutput(), newOutput()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-addr", "127.0.0.1:0", "-session", "shop,support", "-session", "more", "-state", t.TempDir()}, out, errs)
	}()
	select {
	case <-out.said:
	case <-time.After(20 * time.Second):
		t.Fatalf("said nothing: %s", errs)
	}
	text := out.String()
	if !strings.Contains(text, "shop, support, more") || !strings.Contains(text, "wabridge-dev-secret") {
		t.Errorf("said: %s", text)
	}
	_, rest, _ := strings.Cut(text, "http://")
	addr, _, _ := strings.Cut(rest, " ")
	if c := run(t.Context(), []string{"-healthcheck", "-addr", addr}, out, errs); c != 0 {
		t.Errorf("health check: %d %s", c, errs)
	}
	if c := run(t.Context(), []string{"-addr", addr}, out, errs); c != 1 || !strings.Contains(errs.String(), "choose another with -addr") {
		t.Errorf("taken port: %d %s", c, errs)
	}
	stop()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d: %s", c, errs)
	}
}

func TestRunRefusesWhatItCannotDo(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-h"}, 0, "-session"},
		{[]string{"-nonsense"}, 2, "nonsense"},
		{[]string{"demo"}, 2, "unexpected argument"},
		{[]string{"-session", "a b"}, 1, "session id"},
		{[]string{"-webhook", "nowhere"}, 1, "http or https"},
		{[]string{"-healthcheck", "-addr", free}, 1, "checking health"},
		{[]string{"-healthcheck", "-addr", "nowhere"}, 1, "checking health"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			out, errs := newOutput(), newOutput()
			if code := run(t.Context(), tc.args, out, errs); code != tc.code || !strings.Contains(errs.String(), tc.says) {
				t.Errorf("code %d: %s", code, errs)
			}
		})
	}
}
