package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge/simulator"
)

// BenchmarkMedia prints how far the bridge's memory grows while a file of 100 MB
// comes in, and while it goes out again.
func BenchmarkMedia(b *testing.B) {
	const size = 100 << 20
	bed := newBed(b)
	defer bed.close()
	addr := bed.webhookAddress()
	sim := bed.simulate(addr)
	bed.launchWebhooks("bridge", addr, "WABRIDGE_GRAPH_URL=http://"+sim.addr)
	consumer, err := bed.js.OrderedConsumer(b.Context(), "WA_RECV", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"wa.recv." + session, "wa.status." + session}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	check(b, err)
	iterator, err := consumer.Messages()
	check(b, err)
	defer iterator.Stop()
	next := func(text string) []byte {
		for {
			m, err := iterator.Next()
			check(b, err)
			if strings.Contains(string(m.Data()), text) {
				return m.Data()
			}
		}
	}
	in := func(n int) string {
		file := bytes.Repeat([]byte{0x25, byte(n >> 20)}, n/2)
		_, err := sim.Write("15550142233", fmt.Appendf(nil, `{"session":"%s","type":"document","document":{"id":"%s"}}`, session, sim.AddMedia("application/pdf", file)))
		check(b, err)
		var stored struct {
			Media struct{ Object, Error string }
		}
		check(b, json.Unmarshal(next(`"media":`), &stored))
		if stored.Media.Object == "" {
			b.Fatalf("the file was not fetched: %s", stored.Media.Error)
		}
		return stored.Media.Object
	}
	out := func(object string) {
		_, err := bed.js.Publish(b.Context(), "wa.send."+session,
			fmt.Appendf(nil, `{"to":"+15550142233","type":"document","document":{"object":"%s","filename":"a.pdf"}}`, object))
		check(b, err)
		if outcome := next(`"attempts":`); !strings.Contains(string(outcome), `"accepted"`) {
			b.Fatalf("the file was not sent: %s", outcome)
		}
	}
	growth := func(f func()) (mb float64, took time.Duration) {
		check(b, bed.candidate.forgetPeak())
		before, err := bed.candidate.peak()
		check(b, err)
		begun := time.Now()
		f()
		after, err := bed.candidate.peak()
		check(b, err)
		return after - before, time.Since(begun)
	}
	out(in(1 << 20)) // so that connections and buffers are there
	var object string
	inMB, inTook := growth(func() { object = in(size) })
	outMB, outTook := growth(func() { out(object) })
	b.Logf("a file of %d MB: in %v, RSS %+.1f MB; out %v, RSS %+.1f MB", size>>20, inTook.Round(time.Millisecond), inMB, outTook.Round(time.Millisecond), outMB)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(inMB, "in-rss-MB")
	b.ReportMetric(outMB, "out-rss-MB")
}

// simulated is a WhatsApp in this process.
type simulated struct {
	*simulator.Simulator
	addr string
}

// simulate starts a simulated WhatsApp with the session of the benchmarks, whose
// webhooks go to addr.
func (b *bed) simulate(addr string) simulated {
	b.tb.Helper()
	sim, err := simulator.New(simulator.Config{Sessions: []simulator.SessionConfig{{
		ID: session, PhoneNumberID: hookPhone, WABAID: hookWABA,
		Webhook: &simulator.Webhook{URL: "http://" + addr + "/webhook", AppID: hookApp, AppSecret: hookSecret, Token: hookToken},
	}}})
	check(b.tb, err)
	var lc net.ListenConfig
	l, err := lc.Listen(b.tb.Context(), "tcp", "127.0.0.1:0")
	check(b.tb, err)
	ctx, cancel := context.WithCancel(b.tb.Context())
	served := make(chan error, 1)
	go func() { served <- sim.Serve(ctx, l) }()
	b.stops = append(b.stops, func() {
		cancel()
		check(b.tb, <-served)
		check(b.tb, sim.Close())
	})
	return simulated{sim, l.Addr().String()}
}
