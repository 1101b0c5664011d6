package stack

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"wabridge/bridge"
)

// binaries builds the programs when the first test asks for one; built is where.
var (
	binaries = sync.OnceValues(buildBinaries)
	built    string
)

func buildBinaries() (string, error) {
	dir, err := os.MkdirTemp("", "wabridge-test-")
	if err != nil {
		return "", err
	}
	built = dir
	build := exec.Command("go", "build", "-o", dir, "wabridge/cmd/wabridge", "wabridge/cmd/wasim")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
}

// Binary builds the programs once and returns the path of one.
func Binary(t testing.TB, name string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatalf("building the programs: %v", err)
	}
	return filepath.Join(dir, name)
}

// removeBinaries takes away what Binary made.
func removeBinaries() error { return os.RemoveAll(built) }

// Process is a replica in a process of its own.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  lockedBuffer
}

// lockedBuffer collects what a process prints.
type lockedBuffer struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	heard func(printed []byte) // may be nil
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard != nil {
		b.heard(p)
	}
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Variables configure sessions on the stack's simulator.
func (s *Stack) Variables(ids ...string) []string {
	env := []string{"WABRIDGE_SESSIONS=" + strings.Join(ids, ",")}
	if s.front != nil {
		env = append(env, "WABRIDGE_WEBHOOK_ADDR=127.0.0.1:0", "WABRIDGE_GRAPH_URL=http://"+s.SimAddr)
	}
	for _, id := range ids {
		prefix := "WABRIDGE_SESSION_" + strings.ToUpper(strings.ReplaceAll(id, "-", "_"))
		if s.front != nil {
			env = append(env, s.cloudVariables(prefix, id)...)
			continue
		}
		env = append(env,
			prefix+"_PLATFORM="+bridge.PlatformChatAPI,
			prefix+"_URL=ws://"+s.SimAddr+"/v1/sessions/{session}/ws",
			prefix+"_TOKEN_URL=http://"+s.SimAddr+"/oauth/token",
			prefix+"_CLIENT_ID="+clientID,
			prefix+"_CLIENT_SECRET="+clientSecret,
		)
	}
	return env
}

// StartProcess runs the built wabridge on the stack's servers, with further
// variables. It is killed at the end of the test.
func (s *Stack) StartProcess(t testing.TB, replica string, env ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(Binary(t, "wabridge"), "run"), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(),
		"WABRIDGE_NATS_URL="+s.NATS.URL(),
		"WABRIDGE_REPLICA_ID="+replica,
		"WABRIDGE_ADMIN_ADDR=127.0.0.1:0",
		"WABRIDGE_LOG_LEVEL=debug",
	)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if s.front != nil {
		p.log.heard = s.front.hear
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // a kill is what the test wants
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("what %s printed:\n%s", replica, tail(p.log.String(), 8000))
		}
	})
	return p
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Kill ends the process at once (kill -9) and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// Terminate sends SIGTERM and waits for the end; it returns the exit code.
func (p *Process) Terminate() int {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}
