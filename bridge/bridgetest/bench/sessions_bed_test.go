package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

// ahead bounds the messages, over all sessions, that are not confirmed yet: less
// than one session's window.
const ahead = window - 128

// scale is a bed with many sessions, which are defined before the bridge starts.
type scale struct {
	*bed
	n     int
	crowd *crowd
	admin string // host and port of the bridge's metrics
	env   []string
}

func newScale(tb testing.TB, n int) *scale {
	tb.Helper()
	s := &scale{bed: newBed(tb), n: n}
	s.name = strconv.Itoa(n) + " sessions"
	dir, err := os.MkdirTemp("", "wabridge-bench-ca-") //nolint:usetesting // gone after each measurement
	check(tb, err)
	s.stops = append(s.stops, func() { check(tb, os.RemoveAll(dir)) })
	authority := filepath.Join(dir, "ca.pem")
	s.crowd, err = newCrowd(tb.Context(), *sessionTLS, authority)
	check(tb, err)
	s.stops = append(s.stops, func() { check(tb, s.crowd.close()) })
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	check(tb, err)
	s.admin = l.Addr().String()
	check(tb, l.Close())
	s.env = []string{
		"WABRIDGE_NATS_URL=" + s.natsURL, "WABRIDGE_ADMIN_ADDR=" + s.admin, "WABRIDGE_REPLICA_ID=bench", "WABRIDGE_LOG_LEVEL=error",
		"BENCH_SECRET=bench", "SSL_CERT_FILE=" + authority,
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01", "OTEL_TRACES_EXPORTER=otlp",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
	}
	s.define()
	return s
}

// id is the id of the i-th session.
func (s *scale) id(i int) string { return "s" + strconv.Itoa(i) }

// define puts the sessions into the bucket. Each is a client of its own, and
// fetches a token of its own.
func (s *scale) define() {
	s.tb.Helper()
	for i := range s.n {
		value, err := json.Marshal(bridge.Definition{
			Platform: bridge.PlatformChatAPI, URL: s.crowd.url("ws", "/ws/{session}"), TokenURL: s.crowd.url("http", "/oauth/token"),
			ClientID: s.id(i), ClientSecret: "env:BENCH_SECRET",
		})
		check(s.tb, err)
		_, err = s.js.PublishAsync("$KV.wa_sessions."+s.id(i), value, jetstream.WithStallWait(time.Minute))
		check(s.tb, err)
	}
	<-s.js.PublishAsyncComplete()
}

// start runs the bridge and returns how long it took until every session was
// connected.
func (s *scale) start() time.Duration {
	s.tb.Helper()
	path := bridgeBinary(s.tb)
	begun := time.Now()
	var err error
	s.candidate, err = start(path, s.env...)
	check(s.tb, err)
	s.await(func() bool { return s.crowd.connected.Load() == int64(s.n) })
	return time.Since(begun)
}

// await polls rarely: it shares the machine with what it waits for.
func (s *scale) await(cond func() bool) {
	s.tb.Helper()
	for end := time.Now().Add(10 * time.Minute); !cond(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.tb.Fatalf("%s: gave up waiting: %d connected, %d of %d acked, %d accepted\n%s", s.name, s.crowd.connected.Load(),
				s.crowd.acked.Load(), s.crowd.written.Load(), s.crowd.accepted.Load(), s.candidate.out.String())
		}
	}
}

// stored is how many messages a stream has ever had.
func (s *scale) stored(stream string) uint64 {
	s.tb.Helper()
	info, err := s.js.Stream(s.tb.Context(), stream)
	check(s.tb, err)
	return info.CachedInfo().State.LastSeq
}

// told waits until both states of each session's start are stored.
func (s *scale) told() { s.await(func() bool { return s.stored("WA_RECV") >= uint64(2*s.n) }) }

// events gives every session in turn an event, n of them or for the time of a
// measurement, at most rate a second (0: as fast as they are acked), and returns
// how many, once all are acked.
func (s *scale) events(n uint64, rate float64) uint64 {
	s.tb.Helper()
	peers := s.crowd.all()
	done := s.pace(n, rate, &s.crowd.acked, s.crowd.written.Load(), func(i uint64) {
		k := int(i % uint64(s.n))
		check(s.tb, s.crowd.event(peers[k], k))
	})
	s.await(func() bool { return s.crowd.acked.Load() == s.crowd.written.Load() })
	return done
}

// commands does the same with commands, until all outcomes are stored.
func (s *scale) commands(n uint64, rate float64) uint64 {
	s.tb.Helper()
	before, published := s.stored("WA_RECV"), s.stored("WA_SEND")
	done := s.pace(n, rate, &s.crowd.accepted, s.crowd.accepted.Load(), func(i uint64) {
		_, err := s.js.PublishMsgAsync(&nats.Msg{
			Subject: "wa.send." + s.id(int(i%uint64(s.n))),
			Header: nats.Header{
				"Nats-Msg-Id": {"c-" + strconv.FormatUint(published+i, 10)}, "traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"},
			},
			Data: fmt.Appendf(nil, `{"messaging_product":"whatsapp","to":"+%d","type":"text","text":{"body":"%s"}}`, 15550000000+i%conversations, padding),
		}, jetstream.WithStallWait(time.Minute))
		check(s.tb, err)
	})
	s.await(func() bool { return s.stored("WA_RECV") >= before+done })
	return done
}

// pace calls one again and again, never more than ahead before what is confirmed
// beyond base.
func (s *scale) pace(n uint64, rate float64, confirmed interface{ Load() uint64 }, base uint64, one func(i uint64)) uint64 {
	ctx, cancel := context.WithTimeout(s.tb.Context(), *duration)
	defer cancel()
	begun := time.Now()
	for i := range n {
		for i >= confirmed.Load()-base+ahead {
			nap(s.tb.Context())
		}
		if rate > 0 {
			for due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second))); time.Now().Before(due); {
				nap(s.tb.Context())
			}
		}
		if n == 1<<60 && ctx.Err() != nil {
			return i
		}
		one(i)
	}
	return n
}

// spent is the CPU time that the bridge has used.
func (s *scale) spent() time.Duration {
	s.tb.Helper()
	cpu, err := s.candidate.cpu()
	check(s.tb, err)
	return cpu
}

// memory reads a line of the bridge's status, in MiB.
func (s *scale) memory(field string) float64 {
	s.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.candidate.cmd.Process.Pid))
	check(s.tb, err)
	_, rest, ok := strings.Cut(string(status), field)
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		s.tb.Fatalf("no %s in the status of the process", field)
	}
	kb, err := strconv.ParseFloat(fields[0], 64)
	check(s.tb, err)
	return kb / 1024
}

// goroutines reads how many the bridge has from its metrics.
func (s *scale) goroutines() int {
	s.tb.Helper()
	request, err := http.NewRequestWithContext(s.tb.Context(), http.MethodGet, "http://"+s.admin+"/metrics", http.NoBody)
	check(s.tb, err)
	resp, err := http.DefaultClient.Do(request)
	check(s.tb, err)
	defer func() { check(s.tb, resp.Body.Close()) }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "go_goroutine_count") {
			fields := strings.Fields(lines.Text())
			n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			check(s.tb, err)
			return int(n)
		}
	}
	s.tb.Fatal("the metrics do not tell the goroutines")
	return 0
}
