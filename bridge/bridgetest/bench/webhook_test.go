package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wabridge/bridge"
)

var webhooks = flag.Uint64("bridge.webhooks", 100_000, "webhook messages of each measurement")

// posters is how many requests are under way at once: Meta posts concurrently.
const posters = 64

// BenchmarkWebhooks prints the floor and the bridge side by side: requests of
// one message, at full speed, then at 1,000 a second for the time of an answer.
func BenchmarkWebhooks(b *testing.B) {
	results := map[string][]figures{}
	for range *runs {
		for _, name := range []string{"floor", "bridge"} {
			results[name] = append(results[name], measureWebhooks(b, name))
		}
	}
	report(b, fmt.Sprintf("webhooks, %d", *webhooks), median(results["floor"]), median(results["bridge"]))
}

func measureWebhooks(tb testing.TB, name string) figures {
	tb.Helper()
	bed := newBed(tb)
	defer bed.close()
	addr := bed.webhookAddress()
	bed.launchWebhooks(name, addr)
	cpu0, err := bed.candidate.cpu()
	check(tb, err)
	begun := time.Now()
	bed.post(addr, "f", *webhooks, 0, nil)
	took := time.Since(begun)
	cpu1, err := bed.candidate.cpu()
	check(tb, err)
	stored, err := bed.js.Stream(tb.Context(), "WA_RECV")
	check(tb, err)
	if n := stored.CachedInfo().State.Msgs; n < *webhooks {
		tb.Fatalf("%s: %d messages are stored, want %d\n%s", name, n, *webhooks, bed.candidate.out.String())
	}
	f := figures{rate: float64(*webhooks) / took.Seconds(), cpu: float64((cpu1 - cpu0).Microseconds()) / float64(*webhooks)}
	var lat latencies
	bed.post(addr, "p", uint64(1000*(*duration/2).Seconds()), 1000, &lat)
	f.p50, f.p99 = lat.quantiles()
	f.rss, err = bed.candidate.peak()
	check(tb, err)
	return f
}

func (b *bed) webhookAddress() string {
	addr, err := freeAddress(b.tb.Context())
	check(b.tb, err)
	return addr
}

// launchWebhooks starts the floor, or the bridge with one Cloud API session, and
// waits until it takes webhooks at addr. Without further variables the bridge has
// a Graph that agrees to everything.
func (b *bed) launchWebhooks(name, addr string, env ...string) {
	b.tb.Helper()
	var err error
	switch {
	case name == "floor":
		b.candidate, err = startRole("floor-webhooks", "BENCH_NATS="+b.natsURL, "BENCH_PLATFORM="+addr)
	case len(env) == 0:
		graphAddr, stop, failed := graph(b.tb.Context())
		check(b.tb, failed)
		b.stops = append(b.stops, func() { check(b.tb, stop()) })
		env = append(env, "WABRIDGE_GRAPH_URL=http://"+graphAddr)
		fallthrough
	default:
		b.candidate, err = start(bridgeBinary(b.tb), append(env,
			"WABRIDGE_NATS_URL="+b.natsURL, "WABRIDGE_SESSIONS="+session, "WABRIDGE_ADMIN_ADDR=127.0.0.1:0", "WABRIDGE_REPLICA_ID=bench",
			"WABRIDGE_WEBHOOK_ADDR="+addr, "WABRIDGE_SESSION_BENCH_PLATFORM="+bridge.PlatformCloudAPI,
			"WABRIDGE_SESSION_BENCH_PHONE_NUMBER_ID="+hookPhone, "WABRIDGE_SESSION_BENCH_WABA_ID="+hookWABA,
			"WABRIDGE_SESSION_BENCH_TOKEN="+hookToken, "WABRIDGE_SESSION_BENCH_APP_ID="+hookApp,
			"WABRIDGE_SESSION_BENCH_APP_SECRET="+hookSecret, "WABRIDGE_SESSION_BENCH_VERIFY_TOKEN=bench",
			"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01", "OTEL_TRACES_EXPORTER=otlp",
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "WABRIDGE_LOG_LEVEL=error")...)
	}
	check(b.tb, err)
	b.await(func() bool {
		p, err := newPoster(b.tb.Context(), addr)
		if err != nil {
			return false
		}
		defer p.conn.Close() //nolint:errcheck // one request of many
		p.message("probe", uint64(time.Now().UnixNano()))
		status, err := p.post(hookSignature(p.body.Bytes()))
		return err == nil && status == http.StatusOK
	})
}

// post posts n messages, all of which must be taken, at a rate (0: as fast as
// they are answered), and notes how long the answers took.
func (b *bed) post(addr, run string, n uint64, rate float64, lat *latencies) {
	b.tb.Helper()
	var next atomic.Uint64
	var work sync.WaitGroup
	begun := time.Now()
	for range posters {
		work.Go(func() {
			p, err := newPoster(b.tb.Context(), addr)
			if err != nil {
				b.tb.Error(err)
				return
			}
			defer p.conn.Close() //nolint:errcheck // the work is done
			for i := next.Add(1); i <= n; i = next.Add(1) {
				if rate > 0 {
					<-time.After(time.Until(begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))))
				}
				p.message(run, i)
				signature := hookSignature(p.body.Bytes())
				from := time.Now()
				status, err := p.post(signature)
				if err != nil || status != http.StatusOK {
					b.tb.Errorf("message %d: status %d, %v", i, status, err)
					return
				}
				if lat != nil {
					lat.add(from.UnixNano())
				}
			}
		})
	}
	work.Wait()
	if b.tb.Failed() {
		b.tb.Fatalf("not every webhook was taken\n%s", b.candidate.out.String())
	}
}

// BenchmarkWebhookFlood prints what 10,000 requests of strangers do to the good
// ones: forged, oversized, truncated, wrongly typed, and slow.
func BenchmarkWebhookFlood(b *testing.B) {
	const bad, rate = 10_000, 500
	bed := newBed(b)
	defer bed.close()
	addr := bed.webhookAddress()
	bed.launchWebhooks("bridge", addr)
	good := func(run string) (p50, p99 float64) {
		var lat latencies
		bed.post(addr, run, uint64(rate*(*duration).Seconds()), rate, &lat)
		return lat.quantiles()
	}
	alone50, alone99 := good("alone")
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var strangers sync.WaitGroup
	var refused atomic.Int64
	begun := time.Now()
	for worker := range posters {
		strangers.Go(func() {
			for i := worker; i < bad; i += posters {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(begun.Add(*duration * time.Duration(i) / bad))):
				}
				if err := stranger(ctx, addr, i); err == nil {
					refused.Add(1)
				}
			}
		})
	}
	flood50, flood99 := good("flood")
	cancel()
	strangers.Wait()
	stored, err := bed.js.Stream(b.Context(), "WA_RECV")
	check(b, err)
	b.Logf("good requests at %d/s: p50 %.3f ms, p99 %.3f ms alone; p50 %.3f ms, p99 %.3f ms beside %d bad ones; %d messages stored",
		rate, alone50, alone99, flood50, flood99, refused.Load(), stored.CachedInfo().State.Msgs)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(flood50/alone50, "p50-ratio")
	b.ReportMetric(flood99/alone99, "p99-ratio")
}

// stranger makes one bad request of the kind that i says, and waits for its
// refusal. One that is slow stays open in the background until it is refused.
func stranger(ctx context.Context, addr string, i int) error {
	p, err := newPoster(ctx, addr)
	if err != nil {
		return err
	}
	p.message("stranger", uint64(i))
	head := func(length int, kind string) string {
		return fmt.Sprintf("POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nX-Hub-Signature-256: sha256=%s\r\nContent-Length: %d\r\n\r\n",
			kind, strings.Repeat("ab", 32), length)
	}
	const json = "application/json"
	request := head(p.body.Len(), json) + p.body.String() // forged
	switch i % 10 {
	case 0:
		request = head(100<<20, json)
	case 1:
		request = head(p.body.Len()+10, json) + p.body.String()
	case 2:
		request = head(p.body.Len(), "text/plain") + p.body.String()
	case 3:
		request = head(p.body.Len(), json) + "{"
	}
	if _, err := p.conn.Write([]byte(request)); err != nil {
		return errors.Join(err, p.conn.Close())
	}
	switch i % 10 {
	case 1: // truncated
		err = p.conn.(*net.TCPConn).CloseWrite()
	case 3: // slow
		time.AfterFunc(slowFor, func() { _ = p.conn.Close() }) // it was refused before
		return nil
	}
	_, answered := p.answer()
	return errors.Join(err, answered, p.conn.Close())
}

// slowFor is longer than a webhook may take to arrive.
const slowFor = 6 * time.Second
