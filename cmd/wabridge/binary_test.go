package main

import (
	"bytes"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// binary builds the program.
func binary(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "wabridge")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", name, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return name
}

// process is the program, running. Its output may be read once it has ended.
type process struct {
	cmd         *exec.Cmd
	out, errors bytes.Buffer
	ended       chan struct{}
}

// start starts the program in the test's environment; it is killed at the end
// of the test where it still runs.
func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), program, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errors
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		var exit *exec.ExitError
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-p.ended
	})
	return p
}

// signal sends a signal, waits for the end and wants an exit code.
func (p *process) signal(t *testing.T, s os.Signal, code int) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	p.wait(t, code)
}

func (p *process) wait(t *testing.T, code int) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatal("the process does not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit code %d, want %d\nout: %s\nerrors: %s", got, code, &p.out, &p.errors)
	}
}

// freeAddr is an address of this machine that nothing listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// TestBinary runs the program as a person does: service, check, send, tail,
// signals.
func TestBinary(t *testing.T) {
	program := binary(t)
	environment(t, "SHARDS=x")
	start(t, program).wait(t, exitUsage)

	server := bridgetest.NATS(t)
	sim, err := simulator.New(simulator.Config{
		Sessions: []simulator.SessionConfig{{ID: "demo"}},
		Clients:  []simulator.Client{{ID: "wabridge", Secret: "swordfish"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	whatsapp := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		whatsapp.CloseClientConnections()
		whatsapp.Close()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	environment(t, "NATS_URL="+server.URL(), "ADMIN_ADDR="+freeAddr(t), "SESSIONS=demo",
		"SESSION_DEMO_PLATFORM=chatapi", "SESSION_DEMO_CLIENT_ID=wabridge", "SESSION_DEMO_CLIENT_SECRET=swordfish",
		"SESSION_DEMO_TOKEN_URL="+whatsapp.URL+"/oauth/token", "NATS_ULR=swordfish",
		"SESSION_DEMO_URL=ws"+strings.TrimPrefix(whatsapp.URL, "http")+"/v1/sessions/{session}/ws")

	service := start(t, program)
	bridgetest.Eventually(t, time.Minute, func() bool {
		return exec.CommandContext(t.Context(), program, "healthcheck").Run() == nil
	}, "the service is not ready")
	checked := start(t, program, "check")
	checked.wait(t, exitOK)
	if !strings.Contains(checked.out.String(), "ok       session demo      token and connection") {
		t.Errorf("check: %s", &checked.out)
	}
	tail := start(t, program, "tail", "--since", "1h", "--json")
	sent := start(t, program, "send", "demo", "--to", "+15550142233", "--text", "hello", "--ref", "order-1")
	sent.wait(t, exitOK)
	if !strings.HasPrefix(sent.out.String(), "accepted  ref order-1  id wamid.") {
		t.Errorf("send: %s", &sent.out)
	}
	refused := start(t, program, "send", "demo", "--to", "nobody", "--text", "hello")
	refused.wait(t, exitRefused)
	replayed := start(t, program, "dead", "replay", "--all")
	replayed.wait(t, exitOK)
	if !strings.Contains(replayed.out.String(), "1  replayed as command 3, ref ") {
		t.Errorf("replay: %s", &replayed.out)
	}
	tail.signal(t, os.Interrupt, exitOK)
	service.signal(t, syscall.SIGTERM, exitOK)

	log := service.errors.String()
	if !strings.Contains(log, `"level":"WARN","msg":"configuration","warning":"\"WABRIDGE_NATS_ULR\" is not a variable of wabridge and is ignored; did you mean WABRIDGE_NATS_URL?"`) {
		t.Errorf("no warning of the misspelt name:\n%s", log)
	}
	if service.out.Len() > 0 {
		t.Errorf("the service prints on stdout: %s", &service.out)
	}
	for _, private := range []string{"swordfish", "15550142233", "wamid.", "hello"} {
		if strings.Contains(log, private) {
			t.Errorf("the log holds %q:\n%s", private, log)
		}
	}
}

// TestRunStopsWithItsContext runs the service inside the test, where goleak
// sees what it leaves behind.
func TestRunStopsWithItsContext(t *testing.T) {
	server := natsWithStreams(t, "ADMIN_ADDR="+freeAddr(t))
	environment(t, "NATS_URL="+server.URL(), "ADMIN_ADDR="+freeAddr(t))
	s, stop := watch(t, "run")
	bridgetest.Eventually(t, time.Minute, func() bool {
		return command(t, "", "healthcheck").code == exitOK
	}, "the service is not ready: %v", s)
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, s)
	}
}
