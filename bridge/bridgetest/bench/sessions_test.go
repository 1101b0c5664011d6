package bench

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	sessionCounts = flag.String("bridge.sessions", "1,10,100,1000,10000", "numbers of sessions to measure, one after the other")
	sessionIdle   = flag.Duration("bridge.idle", 30*time.Second, "how long idle sessions are watched; pings come every 15 s")
	sessionRate   = flag.Float64("bridge.rate", 1000, "messages/s, over all sessions, of the paced load")
	sessionTLS    = flag.Bool("bridge.wss", false, "the sessions connect over TLS")
)

// BenchmarkSessions prints what many sessions in one replica cost: to connect,
// to be there, and for each message.
func BenchmarkSessions(b *testing.B) {
	var all []sessionFigures
	for text := range strings.SplitSeq(*sessionCounts, ",") {
		n, err := strconv.Atoi(text)
		check(b, err)
		all = append(all, measureSessions(b, n))
	}
	var idle, busy strings.Builder
	for _, f := range all {
		fmt.Fprintf(&idle, "%8d %10.2f %10.2f %10.2f %10.2f %10d %9.2f %9.1f %9.1f %9.1f %9.1f\n", f.sessions,
			f.connected.Seconds(), f.connecting.Seconds(), f.restarted.Seconds(), f.cut.Seconds(), f.goroutines, f.idle, f.rssIdle, f.rssEach, f.rssBusy, f.peak)
		fmt.Fprintf(&busy, "%8d", f.sessions)
		for _, l := range []load{f.in, f.out} {
			fmt.Fprintf(&busy, " %9.0f %9.1f %9.1f", l.rate, l.cpu, l.paced)
		}
		busy.WriteByte('\n')
	}
	b.ReportMetric(0, "ns/op")
	// A benchmark's log is cut after ten lines.
	_, err := fmt.Fprintf(os.Stdout, "idle watched for %v, load for %v each, paced at %.0f/s; times in s, memory in MiB, CPU in µs per message\n"+
		"%8s %10s %10s %10s %10s %10s %9s %9s %9s %9s %9s\n%s\n%8s %9s %9s %9s %9s %9s %9s\n%s",
		*sessionIdle, *duration, *sessionRate,
		"sessions", "connected", "its CPU s", "restarted", "cut", "goroutines", "idle CPU%", "RSS idle", "+1 each", "RSS busy", "peak", idle.String(),
		"sessions", "in msg/s", "CPU", "paced CPU", "out msg/s", "CPU", "paced CPU", busy.String())
	check(b, err)
}

// sessionFigures are those of one number of sessions. Memory is in MiB, idle in
// percent of a core.
type sessionFigures struct {
	sessions, goroutines int
	// connected is from the start of the process to the last first frame;
	// restarted the same after a kill under way, cut from the end of all
	// connections until all are there again.
	connected, restarted, cut time.Duration
	// connecting is the CPU time that the bridge used until all were connected.
	connecting                      time.Duration
	idle                            float64
	rssIdle, rssEach, rssBusy, peak float64
	in, out                         load
}

// load is one direction: as fast as it goes, and what a message costs then and
// while the load is paced, in µs of CPU.
type load struct{ rate, cpu, paced float64 }

func measureSessions(tb testing.TB, n int) sessionFigures {
	tb.Helper()
	s := newScale(tb, n)
	defer func() { s.close() }()
	return s.measure()
}

// measure starts the bridge and looks at it in every condition.
func (s *scale) measure() sessionFigures {
	s.tb.Helper()
	f := sessionFigures{sessions: s.n}
	f.connected = s.start()
	f.connecting = s.spent()
	s.told()
	<-time.After(20 * time.Second) // by then all have been pinged
	f.goroutines = s.goroutines()
	cpu := s.spent()
	<-time.After(*sessionIdle)
	f.idle = 100 * float64(s.spent()-cpu) / float64(*sessionIdle)
	f.rssIdle = s.memory("VmRSS:")

	s.events(uint64(s.n), 0)
	s.commands(uint64(s.n), 0)
	f.rssEach = s.memory("VmRSS:")

	f.in = s.load(s.events)
	f.out = s.load(s.commands)
	f.rssBusy = s.memory("VmRSS:")
	f.peak = s.memory("VmHWM:")

	begun := time.Now()
	s.crowd.disconnect()
	s.await(func() bool { return s.crowd.greeted.Load() >= uint64(2*s.n) })
	f.cut = time.Since(begun)
	s.candidate.kill()
	s.await(func() bool { return s.crowd.connected.Load() == 0 })
	f.restarted = s.start()
	return f
}

// load gives the bridge messages, as fast as it takes them and then paced.
func (s *scale) load(give func(uint64, float64) uint64) (l load) {
	cpu, begun := s.spent(), time.Now()
	n := give(1<<60, 0)
	l.rate = float64(n) / time.Since(begun).Seconds()
	l.cpu = float64((s.spent() - cpu).Microseconds()) / float64(n)
	cpu = s.spent()
	n = give(1<<60, *sessionRate)
	l.paced = float64((s.spent() - cpu).Microseconds()) / float64(n)
	return l
}
