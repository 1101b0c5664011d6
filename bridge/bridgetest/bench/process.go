package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// roleVariable makes a process of this test binary a part of the measurement.
const roleVariable = "WABRIDGE_BENCH_ROLE"

// runRole runs the role that the environment names; false where there is none.
func runRole() (bool, error) {
	role := os.Getenv(roleVariable)
	if role == "" {
		return false, nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if strings.HasPrefix(role, "fleet-") {
		return true, runFleet(ctx, role)
	}
	if role == "nats" {
		return true, runNATS(ctx, os.Getenv("BENCH_DIR"), os.Getenv("BENCH_SYNC") == "always")
	}
	return true, runFloor(ctx, role, os.Getenv("BENCH_NATS"), os.Getenv("BENCH_PLATFORM"))
}

// runNATS is a nats-server in a process of its own. It writes its URL to a file.
func runNATS(ctx context.Context, dir string, always bool) error {
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true, SyncAlways: always,
	})
	if err != nil {
		return err
	}
	ns.Start()
	if !ns.ReadyForConnections(20 * time.Second) {
		return errors.New("the server is not ready after 20 s")
	}
	if err := os.WriteFile(filepath.Join(dir, "url.tmp"), []byte(ns.ClientURL()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "url.tmp"), filepath.Join(dir, "url")); err != nil {
		return err
	}
	<-ctx.Done()
	ns.Shutdown()
	ns.WaitForShutdown()
	return nil
}

// process is a measured process.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

func start(path string, env ...string) (*process, error) {
	p := &process{cmd: exec.Command(path), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // it is killed
		close(p.done)
	}()
	return p, nil
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// startRole runs this test binary in a role.
func startRole(role string, env ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(self, append(env, roleVariable+"="+role)...)
}

// cpu is the processor time that a process has used.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// peak is the largest resident memory of a process so far, in MB.
func (p *process) peak() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kb / 1000, err
		}
	}
	return 0, errors.New("no VmHWM")
}
