package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wabridge/bridge/bridgetest"
)

const patience = 60 * time.Second

// asProgram, where set, makes the test binary the playground itself.
const asProgram = "WABRIDGE_PLAYGROUND_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("os/signal.loop"))
}

// output collects what the playground says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// playground is one that runs in this process.
type playground struct {
	nats, web string
	out       *output
}

var (
	webAddress  = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)
	natsAddress = regexp.MustCompile(`nats://(127\.0\.0\.1:\d+)`)
)

// ready tells whether the greeting and a connected session were printed.
func ready(text string) bool {
	return strings.Contains(text, `"state":"connected"`)
}

func newPlayground(t *testing.T) *playground {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p := &playground{out: &output{}}
	errs := &output{}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-nats", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, p.out, errs)
	}()
	t.Cleanup(func() {
		stop()
		if c := <-code; c != 0 {
			t.Errorf("exit code %d: %s", c, errs)
		}
	})
	bridgetest.Eventually(t, patience, func() bool { return ready(p.out.String()) }, "the session did not connect: %s", errs)
	p.web = webAddress.FindStringSubmatch(p.out.String())[1]
	p.nats = natsAddress.FindStringSubmatch(p.out.String())[1]
	return p
}

func TestSaysWhatToDo(t *testing.T) {
	p := newPlayground(t)
	greeting, _, _ := strings.Cut(p.out.String(), "wa.event.demo")
	for _, want := range []string{"http://" + p.web, "nats://" + p.nats, "pub wa.send.demo", "cmd/wabridge send demo", "cmd/wabridge tail", "Ctrl-C"} {
		if !strings.Contains(greeting, want) {
			t.Errorf("the greeting lacks %q:\n%s", want, greeting)
		}
	}
	if n := strings.Count(greeting, "\n"); n > 15 {
		t.Errorf("the greeting has %d lines, want 15 at most", n)
	}
}

func TestTakenAddressNamesTheFlag(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, flag := range []string{"-nats", "-http", "-admin"} {
		args := []string{"-nats", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0", flag, taken.Addr().String()}
		var out, errs output
		if code := run(t.Context(), args, &out, &errs); code != 1 {
			t.Errorf("%s: exit code %d", flag, code)
		}
		want := "playground: " + taken.Addr().String() + " is taken: choose another address with " + flag + " HOST:PORT\n"
		if errs.String() != want || out.String() != "" {
			t.Errorf("%s: said %q and %q, want %q", flag, &errs, &out, want)
		}
	}
}

func TestRefusesWhatItCannotDo(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-h"}, 0, "-http"},
		{[]string{"-nonsense"}, 2, "nonsense"},
		{[]string{"demo"}, 2, "unexpected argument"},
		{[]string{"-nats", "127.0.0.1"}, 1, "-nats"},
		{[]string{"-nats", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-http", "127.0.0.1:x"}, 1, "-http"},
		{[]string{"-nats", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "nowhere"}, 1, "-admin"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			var out, errs output
			if code := run(t.Context(), tc.args, &out, &errs); code != tc.code || !strings.Contains(errs.String(), tc.says) {
				t.Errorf("code %d: %s", code, &errs)
			}
		})
	}
}

// A real process and a real signal: what Ctrl-C is.
func TestCtrlCLeavesNothingBehind(t *testing.T) {
	if signal.Ignored(syscall.SIGINT) {
		signal.Reset(syscall.SIGINT) // a shell's background job ignores it, and so would its children
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var out, errs output
	cmd := exec.CommandContext(t.Context(), self, "-nats", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, patience, func() bool { return ready(out.String()) }, "the session did not connect: %s", &errs)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("while it runs its folder has %v, %v: want one entry", left, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, &errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	for _, address := range []string{webAddress.FindStringSubmatch(out.String())[1], natsAddress.FindStringSubmatch(out.String())[1]} {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Errorf("its address is still taken: %v", err)
			continue
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if errs.String() != "" {
		t.Errorf("it complained: %s", &errs)
	}
}
