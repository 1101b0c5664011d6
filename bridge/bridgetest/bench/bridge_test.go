package bench

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/broker"
)

var (
	runs     = flag.Int("bridge.runs", 5, "interleaved runs of each measurement; the median counts")
	duration = flag.Duration("bridge.duration", 10*time.Second, "time of each measurement")
	syncMode = flag.String("bridge.sync", "", "always: NATS flushes every write to the disk before it answers")
	binary   = flag.String("bridge.binary", "", "measure this program instead of building the bridge")
	other    = flag.String("bridge.other", "", "path of another build of wabridge, to be measured beside this one")
)

func TestMain(m *testing.M) {
	is, err := runRole()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if is {
		os.Exit(0)
	}
	code := m.Run()
	if built != "" {
		if err := os.RemoveAll(built); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// figures are those of one measurement.
type figures struct {
	rate     float64 // messages/s
	cpu      float64 // µs per message
	nats     float64 // µs per message that the NATS server spends
	p50, p99 float64 // ms, at 1,000/s
	rss      float64 // MB
}

// bed is what one measurement stands on: servers and a candidate of its own.
type bed struct {
	tb        testing.TB
	natsURL   string
	server    *process
	nc        *nats.Conn
	js        jetstream.JetStream
	platform  *platform
	name      string // of the candidate
	candidate *process
	stops     []func()
}

func newBed(tb testing.TB) *bed {
	tb.Helper()
	dir, err := os.MkdirTemp("", "wabridge-bench-") //nolint:usetesting // gone after each measurement: a stream is large
	check(tb, err)
	b := &bed{tb: tb}
	b.stops = append(b.stops, func() { check(tb, os.RemoveAll(dir)) })
	ns, err := startRole("nats", "BENCH_DIR="+dir, "BENCH_SYNC="+*syncMode)
	check(tb, err)
	b.server = ns
	b.stops = append(b.stops, ns.kill)
	for range 2400 {
		url, err := os.ReadFile(filepath.Join(dir, "url"))
		if b.natsURL = string(url); err == nil {
			break
		}
		<-time.After(25 * time.Millisecond)
	}
	b.nc, err = nats.Connect(b.natsURL)
	check(tb, err)
	b.stops = append(b.stops, b.nc.Close)
	b.js, err = jetstream.New(b.nc, jetstream.WithPublishAsyncMaxPending(4096))
	check(tb, err)
	// Both meet the same streams: those of the bridge.
	br, err := broker.Connect(tb.Context(), broker.Config{URL: b.natsURL, Manage: true, Logger: slog.New(slog.DiscardHandler)})
	check(tb, err)
	check(tb, br.Ensure(tb.Context()))
	check(tb, br.Close(tb.Context()))
	b.platform, err = newPlatform(tb.Context())
	check(tb, err)
	b.stops = append(b.stops, func() { check(tb, b.platform.close()) })
	return b
}

func (b *bed) close() {
	if b.candidate != nil {
		b.candidate.kill()
	}
	for _, stop := range slices.Backward(b.stops) {
		stop()
	}
}

// launch starts the floor or the bridge (this build, or the other), that one
// with further variables.
func (b *bed) launch(name, direction string, env ...string) {
	b.tb.Helper()
	b.name = name
	var err error
	if name == "floor" {
		b.candidate, err = startRole("floor-"+direction, "BENCH_NATS="+b.natsURL, "BENCH_PLATFORM="+b.platform.addr)
	} else {
		program := *other
		if name != "other" {
			program = bridgeBinary(b.tb)
		}
		b.candidate, err = start(program, append([]string{
			"WABRIDGE_NATS_URL=" + b.natsURL, "WABRIDGE_SESSIONS=" + session, "WABRIDGE_ADMIN_ADDR=127.0.0.1:0", "WABRIDGE_REPLICA_ID=bench",
			"WABRIDGE_SESSION_BENCH_PLATFORM=" + bridge.PlatformChatAPI,
			"WABRIDGE_SESSION_BENCH_URL=ws://" + b.platform.addr + "/ws", "WABRIDGE_SESSION_BENCH_TOKEN_URL=http://" + b.platform.addr + "/oauth/token",
			"WABRIDGE_SESSION_BENCH_CLIENT_ID=bench", "WABRIDGE_SESSION_BENCH_CLIENT_SECRET=bench",
			"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01", "OTEL_TRACES_EXPORTER=otlp",
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "WABRIDGE_LOG_LEVEL=warn",
		}, env...)...)
	}
	check(b.tb, err)
}

// bridgeBinary is the path of this build of wabridge.
func bridgeBinary(tb testing.TB) string {
	tb.Helper()
	if *binary != "" {
		return *binary
	}
	dir, err := builtBridge()
	check(tb, err)
	return filepath.Join(dir, "wabridge")
}

// builtBridge builds wabridge once, in a folder that TestMain removes. It waits
// to be asked: each role of this binary would build it, too.
var builtBridge = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "wabridge-bench-bin-")
	if err != nil {
		return "", err
	}
	built = dir
	out, err := exec.Command("go", "build", "-o", dir, "wabridge/cmd/wabridge").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// built is the folder of builtBridge; empty without.
var built string

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkBridge prints the floor and the bridge side by side.
func BenchmarkBridge(b *testing.B) {
	for _, direction := range []string{"in", "out"} {
		b.Run(direction, func(b *testing.B) {
			names := []string{"floor", "bridge"}
			if *other != "" {
				names = append(names, "other")
			}
			results := map[string][]figures{}
			for range *runs {
				for _, name := range names {
					results[name] = append(results[name], measure(b, name, direction))
				}
			}
			floor, ours := median(results["floor"]), median(results["bridge"])
			report(b, direction, floor, ours)
			if *other != "" {
				b.Logf("\n%s", line("other", median(results["other"])))
			}
		})
	}
}

func report(b *testing.B, direction string, floor, ours figures) {
	b.Logf("%s: median of %d runs of %v\n%-8s %10s %10s %9s %9s %9s %8s\n%s\n%s\nratio    %10.2f %10.2f  p50 %+.3f ms", direction, *runs, *duration,
		"", "msg/s", "CPU µs/msg", "NATS µs", "p50 ms", "p99 ms", "RSS MB", line("floor", floor), line("bridge", ours),
		ours.rate/floor.rate, ours.cpu/floor.cpu, ours.p50-floor.p50)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(floor.rate, "floor-msg/s")
	b.ReportMetric(ours.rate, "bridge-msg/s")
	b.ReportMetric(ours.rate/floor.rate, "ratio")
	b.ReportMetric(ours.rss, "rss-MB")
}

func line(name string, f figures) string {
	return fmt.Sprintf("%-8s %10.0f %10.1f %9.1f %9.3f %9.3f %8.1f", name, f.rate, f.cpu, f.nats, f.p50, f.p99, f.rss)
}

func median(all []figures) figures {
	of := func(get func(figures) float64) float64 {
		v := make([]float64, len(all))
		for i := range all {
			v[i] = get(all[i])
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return figures{
		rate: of(func(f figures) float64 { return f.rate }), cpu: of(func(f figures) float64 { return f.cpu }),
		nats: of(func(f figures) float64 { return f.nats }),
		p50:  of(func(f figures) float64 { return f.p50 }), p99: of(func(f figures) float64 { return f.p99 }),
		rss: of(func(f figures) float64 { return f.rss }),
	}
}

// measure runs one candidate on fresh servers: first as fast as it goes, then
// at 1,000 messages/s for the latency.
func measure(tb testing.TB, name, direction string) figures {
	tb.Helper()
	bed := newBed(tb)
	defer bed.close()
	var f figures
	if direction == "in" {
		f = bed.inbound(name)
	} else {
		f = bed.outbound(name)
	}
	rss, err := bed.candidate.peak()
	check(tb, err)
	f.rss = rss
	return f
}

func (b *bed) inbound(name string) figures {
	ctx := b.tb.Context()
	b.launch(name, "in")
	conn, err := b.platform.join(ctx)
	if err != nil {
		b.tb.Fatalf("%s: %v\n%s", name, err, b.candidate.out.String())
	}
	timed, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	used := b.used()
	begun := time.Now()
	written, err := b.platform.events(timed, conn, "f", 1<<40, 0)
	check(b.tb, err)
	b.await(func() bool { return b.platform.acked.Load() >= written })
	took := time.Since(begun)
	f := b.figures(used, written, took)

	// The numbering goes on where it stood: a new connection begins at 1 again.
	b.candidate.kill()
	b.launch(name, "in")
	conn, err = b.platform.join(ctx)
	check(b.tb, err)
	// Who looks on from the start would still be behind now.
	var lat latencies
	defer b.observe("wa.recv."+session, &lat)()
	paced, cancel := context.WithTimeout(ctx, *duration/2)
	defer cancel()
	_, err = b.platform.events(paced, conn, "p", 1<<40, 1000)
	check(b.tb, err)
	f.p50, f.p99 = lat.quantiles()
	return f
}

// used is the processor time that the candidate and the NATS server have used.
func (b *bed) used() [2]time.Duration {
	b.tb.Helper()
	var used [2]time.Duration
	for i, p := range []*process{b.candidate, b.server} {
		var err error
		used[i], err = p.cpu()
		check(b.tb, err)
	}
	return used
}

// figures are those of n messages since used was before.
func (b *bed) figures(before [2]time.Duration, n uint64, took time.Duration) figures {
	b.tb.Helper()
	after := b.used()
	each := func(i int) float64 { return float64((after[i] - before[i]).Microseconds()) / float64(n) }
	return figures{rate: float64(n) / took.Seconds(), cpu: each(0), nats: each(1)}
}

func (b *bed) await(cond func() bool) {
	b.tb.Helper()
	for end := time.Now().Add(60 * time.Second); !cond(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			b.tb.Fatalf("%s: gave up waiting: acked %d, accepted %d\n%s", b.name, b.platform.acked.Load(), b.platform.accepted.Load(), b.candidate.out.String())
		}
	}
}

// latencies collects the age of messages when they are seen.
type latencies struct {
	mu  sync.Mutex
	all []float64 // ms
}

func (l *latencies) add(from int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) < 1<<20 {
		l.all = append(l.all, float64(time.Now().UnixNano()-from)/1e6)
	}
}

// ofRef adds the age of a command whose ref begins with the time of its making.
func (l *latencies) ofRef(ref []byte) {
	if at, ok := strings.CutPrefix(string(ref), "p-"); ok {
		if n, err := strconv.ParseInt(at[:strings.IndexByte(at, '-')], 10, 64); err == nil {
			l.add(n)
		}
	}
}

func (l *latencies) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = l.all[:0]
}

func (l *latencies) quantiles() (p50, p99 float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0, 0
	}
	slices.Sort(l.all)
	return l.all[len(l.all)/2], l.all[len(l.all)*99/100]
}

// observe sees what is stored, as any consumer would, and notes its age. It
// does so only while the load is paced, so as not to be part of the load.
func (b *bed) observe(subject string, lat *latencies) func() {
	consumer, err := b.js.OrderedConsumer(b.tb.Context(), "WA_RECV", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	check(b.tb, err)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if at, ok := stamp(m.Data()); ok {
			lat.add(at)
		}
	})
	check(b.tb, err)
	return consuming.Stop
}

// stamp reads the time that stands first in a text.
func stamp(data []byte) (int64, bool) {
	text := string(member(data, `"body":"`))
	first, _, ok := strings.Cut(text, " ")
	n, err := strconv.ParseInt(first, 10, 64)
	return n, ok && err == nil
}

// outbound publishes commands, at most window-128 ahead of their confirmation,
// so that neither candidate is flooded.
func (b *bed) outbound(name string) figures {
	ctx := b.tb.Context()
	var lat latencies
	pace := make(chan struct{}, 1)
	b.platform.answered = func(ref []byte) {
		lat.ofRef(ref)
		select {
		case pace <- struct{}{}:
		default:
		}
	}
	b.launch(name, "out")
	if _, err := b.platform.join(ctx); err != nil {
		b.tb.Fatalf("%s: %v\n%s", name, err, b.candidate.out.String())
	}
	used := b.used()
	begun := time.Now()
	var n uint64
	for time.Since(begun) < *duration {
		for n >= b.platform.accepted.Load()+window-128 {
			<-pace
		}
		b.command("f-", n)
		n++
	}
	b.confirmed(name, n)
	took := time.Since(begun)
	f := b.figures(used, n, took)
	begun = time.Now()
	for i := uint64(1); time.Since(begun) < *duration/2; i++ {
		for due := begun.Add(time.Duration(i) * time.Millisecond); time.Now().Before(due); {
			nap(ctx)
		}
		b.command("p-"+strconv.FormatInt(time.Now().UnixNano(), 10)+"-", i)
		n++
	}
	b.confirmed(name, n)
	f.p50, f.p99 = lat.quantiles()
	return f
}

func (b *bed) command(prefix string, i uint64) {
	m := &nats.Msg{Subject: "wa.send." + session, Header: nats.Header{
		"Nats-Msg-Id": {prefix + strconv.FormatUint(i, 10)}, "traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"},
	}}
	m.Data = fmt.Appendf(nil, `{"messaging_product":"whatsapp","to":"+%d","type":"text","text":{"body":"%s"}}`, 15550000000+i%conversations, padding)
	_, err := b.js.PublishMsgAsync(m)
	check(b.tb, err)
}

var padding = strings.Repeat("x", 420)

// confirmed waits until every command is settled, and, by the bridge, its
// outcome stored.
func (b *bed) confirmed(name string, n uint64) {
	b.tb.Helper()
	consumer := "floor"
	if name != "floor" {
		consumer = "shard-" + strconv.Itoa(bridge.Shard(session, bridge.DefaultShards))
	}
	b.await(func() bool {
		c, err := b.js.Consumer(b.tb.Context(), "WA_SEND", consumer)
		if err != nil {
			return false
		}
		info := c.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0 && info.AckFloor.Stream >= n
	})
}
