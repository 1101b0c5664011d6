package bench

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

var flood = flag.Int("quiet.flood", 100_000, "commands that the other session of the shard gets at once")

const (
	// quietRate is the load of the quiet session, in commands a second.
	quietRate = 200
	// noisyPace is how long the noisy session's platform takes for a send: like
	// WhatsApp, which takes 1,000 a second at most, it is what limits that session.
	noisyPace = time.Millisecond
)

// BenchmarkQuiet prints the latency of a quiet session, from publishing to the
// platform's answer: with the other session of its shard idle, with one that
// gets everything at once, and with one that cannot connect and gets as much.
// The noisy session is paced by its platform, so that a core is left: what is
// measured is the bridge's queues, not a machine that has no time.
func BenchmarkQuiet(b *testing.B) {
	var lines strings.Builder
	kinds := []string{"alone", "flooded", "down"}
	p99 := map[string][]figures{}
	for range *runs {
		for _, kind := range kinds {
			p99[kind] = append(p99[kind], measureQuiet(b, kind))
		}
	}
	alone := median(p99["alone"])
	for _, kind := range kinds {
		f := median(p99[kind])
		fmt.Fprintf(&lines, "%-8s %9.3f %9.3f %9.2f\n", kind, f.p50, f.p99, f.p99/alone.p99)
		b.ReportMetric(f.p99, kind+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
	b.Logf("quiet session at %d/s, median of %d runs of %v; the other session of its shard gets %d commands\n%-8s %9s %9s %9s\n%s",
		quietRate, *runs, *duration, *flood, "", "p50 ms", "p99 ms", "p99/alone", lines.String())
}

// neighbour is the id of a session in the shard of the one that is measured.
func neighbour() string {
	for i := 0; ; i++ {
		if id := "noisy" + strconv.Itoa(i); bridge.Shard(id, bridge.DefaultShards) == bridge.Shard(session, bridge.DefaultShards) {
			return id
		}
	}
}

// measureQuiet runs the bridge on fresh servers with one kind of neighbour.
func measureQuiet(tb testing.TB, kind string) figures {
	tb.Helper()
	ctx := tb.Context()
	bed := newBed(tb)
	defer bed.close()
	noisy, err := newPlatform(ctx)
	check(tb, err)
	bed.stops = append(bed.stops, func() { check(tb, noisy.close()) })
	noisy.answered = func([]byte) { <-time.After(noisyPace) }
	addr := noisy.addr
	if kind == "down" {
		addr = "127.0.0.1:9"
	}
	var lat latencies
	bed.platform.answered = lat.ofRef
	other := neighbour()
	bed.launch("bridge", "out", neighbourVariables(other, addr)...)
	_, err = bed.platform.join(ctx)
	check(tb, err)
	if kind != "down" {
		_, err = noisy.join(ctx)
		check(tb, err)
	}

	n := 0
	paced := func(d time.Duration) {
		begun := time.Now()
		for i := 1; time.Since(begun) < d; i++ {
			for due := begun.Add(time.Duration(i) * time.Second / quietRate); time.Now().Before(due); {
				nap(ctx)
			}
			n++
			bed.command("p-"+strconv.FormatInt(time.Now().UnixNano(), 10)+"-", uint64(n))
		}
		bed.await(func() bool { return bed.platform.accepted.Load() >= uint64(n) })
	}
	paced(time.Second) // lanes, buffers and the connection are warm
	if kind != "alone" {
		floodSession(bed, other)
	}
	lat.reset()
	paced(*duration)
	if kind == "flooded" && noisy.accepted.Load() >= uint64(*flood) {
		tb.Fatal("the flood was over before the end of the measurement: raise -quiet.flood")
	}
	var f figures
	f.p50, f.p99 = lat.quantiles()
	return f
}

func neighbourVariables(id, addr string) []string {
	prefix := "WABRIDGE_SESSION_" + strings.ToUpper(id)
	return []string{
		"WABRIDGE_SESSIONS=" + session + "," + id, prefix + "_PLATFORM=" + bridge.PlatformChatAPI,
		prefix + "_URL=ws://" + addr + "/ws", prefix + "_TOKEN_URL=http://" + addr + "/oauth/token",
		prefix + "_CLIENT_ID=bench", prefix + "_CLIENT_SECRET=bench",
	}
}

// floodSession publishes all commands of the other session and waits until
// JetStream has them.
func floodSession(b *bed, id string) {
	b.tb.Helper()
	for i := range *flood {
		_, err := b.js.PublishMsgAsync(&nats.Msg{
			Subject: "wa.send." + id, Header: nats.Header{"Nats-Msg-Id": {"flood-" + strconv.Itoa(i)}},
			Data: fmt.Appendf(nil, `{"to":"+%d","type":"text","text":{"body":"%s"}}`, 15550000000+i%conversations, padding),
		}, jetstream.WithStallWait(time.Minute))
		check(b.tb, err)
	}
	select {
	case <-b.js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		b.tb.Fatal("JetStream has not taken the flood within a minute")
	}
}
