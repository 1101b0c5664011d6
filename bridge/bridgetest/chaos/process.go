package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one program that is started again and again, its output appended
// to one file. Its methods may be called from several goroutines.
type process struct {
	name string
	argv []string
	env  []string
	dir  string // of its log
	// ready is asked until it gives nil: the process accepts connections.
	ready func(ctx context.Context) error

	mu      sync.Mutex
	cmd     *exec.Cmd
	done    chan struct{}
	ending  bool
	peak    int // KiB of memory, the most seen
	crashes []string
}

func (p *process) logName() string { return filepath.Join(p.dir, p.name+".log") }

// launch starts the process; it is not ready yet.
func (p *process) launch() error {
	out, err := os.OpenFile(p.logName(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	defer func() { _ = out.Close() }() // the process has its own
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to hear
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.ending = cmd, done, false
	go func() {
		defer close(done)
		err := cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ending {
			p.crashes = append(p.crashes, fmt.Sprintf("%s ended by itself: %v", p.name, err))
		}
	}()
	return nil
}

// await waits until the process is ready.
func (p *process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", p.name, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (p *process) start(ctx context.Context) error {
	if err := p.launch(); err != nil {
		return err
	}
	return p.await(ctx)
}

func (p *process) signal(s syscall.Signal) (done <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		p.ending = true
	}
	p.peak = max(p.peak, peakOf(p.cmd.Process.Pid))
	_ = p.cmd.Process.Signal(s) // it may have ended
	return p.done
}

// kill ends the process at once.
func (p *process) kill() { <-p.signal(syscall.SIGKILL) }

// terminate asks the process to end, and kills it where it takes too long.
func (p *process) terminate() error {
	done := p.signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(40 * time.Second):
		p.kill()
		return fmt.Errorf("%s does not end within 40 s of SIGTERM", p.name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d after SIGTERM", p.name, code)
	}
	return nil
}

func (p *process) pause()  { p.signal(syscall.SIGSTOP) }
func (p *process) resume() { p.signal(syscall.SIGCONT) }

// look notes how much memory the process has had at most.
func (p *process) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.peak = max(p.peak, peakOf(p.cmd.Process.Pid))
	}
}

// peakOf reads the most resident memory that a process has had, in KiB; 0 where
// the system does not say.
func peakOf(pid int) int {
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(rest, "kB")))
			if err != nil {
				return 0
			}
			return kib
		}
	}
	return 0
}

// grep counts the lines of the process's log that hold a text, and gives the
// first.
func (p *process) grep(text string) (n int, first string, err error) {
	f, err := os.Open(p.logName())
	if errors.Is(err, os.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("reading a log: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			if n++; n == 1 {
				first = lines.Text()
			}
		}
	}
	return n, first, nil
}
