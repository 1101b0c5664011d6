package stack

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// writeMany has a user write messages "<name> <i>".
func writeMany(t testing.TB, s *Stack, name string, n int) {
	t.Helper()
	for i := range n {
		if _, err := s.Sim.Write("15550142233", fmt.Appendf(nil, `{"session":"demo","text":"%s %d"}`, name, i)); err != nil {
			t.Fatal(err)
		}
	}
}

// inOrder reads the same messages, each once and in order.
func (r *Records) inOrder(t testing.TB, name string, n int) {
	t.Helper()
	for i := range n {
		if m := r.Next(t); !contains(m.Data(), fmt.Sprintf(`"%s %d"`, name, i)) {
			t.Fatalf("message %d is %s", i, m.Data())
		}
	}
}

// Events that come twice, change places or are missing until a reconnect are
// stored once, in the platform's order.
func TestFaultRepeatedEvents(t *testing.T) {
	t.Parallel()
	s := New(t, Config{})
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	for _, f := range []simulator.Fault{
		{Kind: simulator.FaultDuplicate, Count: 50, Probability: 0.5},
		{Kind: simulator.FaultReorder, Count: 5, Skip: 20},
		{Kind: simulator.FaultGap, Count: 2, Skip: 100},
	} {
		if _, err := s.Sim.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	writeMany(t, s, "event", 500)
	received.inOrder(t, "event", 500)
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Sessions[Demo].Unacked == 0 }, "not everything is acked")
	if v := s.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}

// 101 frames that cannot be read are 101 dead letters: none is stored as good,
// and none costs the connection.
func TestFaultMalformedFrames(t *testing.T) {
	t.Parallel()
	const frames = 101
	s := New(t, Config{})
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo), s.Names.Status(Demo))
	dead := s.Follow(t, s.Names.DeadStream(), s.Names.Dead(Demo))
	variants := []string{
		"not_json", "truncated", "not_object", "not_event", "no_type", "unknown_type", "invalid_utf8", "binary", "no_data", "deep",
	}
	for i := range frames {
		f := simulator.Fault{Kind: simulator.FaultMalformed, Session: Demo, Variant: variants[i%len(variants)]}
		if _, err := s.Sim.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	for range frames {
		if m := dead.Next(t); m.Headers().Get("Wa-Dead-Reason") == "" {
			t.Errorf("a dead letter says no reason: %v", m.Headers())
		}
	}
	writeMany(t, s, "after", 20)
	received.inOrder(t, "after", 20) // and nothing before
	if got := s.Sim.Stats().Connections; got != 1 {
		t.Errorf("there were %d connections, want one", got)
	}
}

// A frame of 64 MiB and a compression bomb cost no memory, and the next
// messages pass.
func TestFaultHugeFrames(t *testing.T) {
	s := New(t, Config{})
	s.Stop(t) // the test weighs the built program instead
	p := s.StartProcess(t, "one", s.Variables(Demo)...)
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	writeMany(t, s, "before", 1000)
	received.inOrder(t, "before", 1000)
	before := peak(t, p)
	for _, f := range []simulator.Fault{
		{Kind: simulator.FaultMalformed, Session: Demo, Variant: "oversized", Size: 64 << 20},
		{Kind: simulator.FaultMalformed, Session: Demo, Variant: "bomb", Size: 256 << 20},
	} {
		if _, err := s.Sim.AddFault(f); err != nil {
			t.Fatal(err)
		}
		writeMany(t, s, f.Variant, 1000)
		received.inOrder(t, f.Variant, 1000)
		if grown := peak(t, p) - before; grown > 20<<10 {
			t.Errorf("after a frame that is %s the process takes %d KiB more", f.Variant, grown)
		}
	}
	s.WaitState(t, Demo, bridge.Connected)
}

// peak is the most memory that a process has had, in KiB.
func peak(t testing.TB, p *Process) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
