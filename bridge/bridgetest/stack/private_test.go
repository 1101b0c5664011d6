package stack

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// What people wrote and who they are, as they come up in the test below.
const (
	privatePeer  = "4915123456789"
	privateOut   = "the-parcel-is-at-the-neighbours"
	privateIn    = "thank-you-so-much"
	privateBad   = "written-in-a-broken-command"
	privateFrame = "written-in-a-broken-frame"
)

// Nothing that the processes print, store, trace or expose holds a token or a
// secret; nothing but the messages themselves tells who wrote to whom, and what.
func TestNothingPrivateIsTold(t *testing.T) { onEach(t, nothingPrivate) }

func nothingPrivate(t *testing.T, platform string) {
	var traced, simulated lockedBuffer
	otlp := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(&traced, r.Body) // what comes through is looked at
	}))
	t.Cleanup(otlp.Close)
	s := New(t, Config{Platform: platform, Simulator: func(c *simulator.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&simulated, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}})
	s.Stop(t) // the test runs the built program instead
	admin := bridgetest.FreeAddr(t)
	p := s.StartProcess(t, "one", append(s.Variables(Demo),
		"WABRIDGE_ADMIN_ADDR="+admin, "OTEL_TRACES_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+otlp.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_COMPRESSION=none",
	)...)
	s.WaitState(t, Demo, bridge.Connected)
	s.trouble(t)
	metrics := strings.Join(scrape(t, admin), "\n")
	terminate(t, p)

	told := map[string]string{
		"the bridge's log": p.log.String(), "the simulator's log": simulated.String(),
		"what is traced": traced.String(), "the metrics": metrics, "the subjects": s.subjects(t),
	}
	for where, text := range told {
		if !strings.Contains(text, Demo) && where != "the metrics" {
			t.Errorf("%s does not name the session: was anything collected?", where)
		}
	}
	stored := s.everythingStored(t)
	for _, secret := range []string{clientSecret, appSecret, verifyToken, systemToken, `EAAS[A-Z2-7]{20}`, `wasim-refresh-`, `Bearer `} {
		for where, text := range told {
			absent(t, where, text, secret)
		}
		absent(t, "JetStream", stored, secret)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(privatePeer))
	for _, private := range []string{privatePeer, encoded[:12], `wamid\.`, privateOut, privateIn, privateBad, privateFrame} {
		for where := range told {
			absent(t, where, told[where], private)
		}
	}
}

func absent(t *testing.T, where, text, pattern string) {
	t.Helper()
	if at := regexp.MustCompile(pattern).FindStringIndex(text); at != nil {
		t.Errorf("%s: %q in %q", where, pattern, text[max(0, at[0]-200):min(len(text), at[1]+100)])
	}
}

// trouble has a session do everything that it has something to say about.
func (s *Stack) trouble(t *testing.T) {
	t.Helper()
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	outcome := func(ref, body, word string) {
		t.Helper()
		s.Publish(t, Demo, ref, body)
		statuses.until(t, ref, word)
	}
	write := func() {
		t.Helper()
		if _, err := s.Sim.Write(privatePeer, []byte(`{"session":"demo","text":"`+privateIn+`"}`)); err != nil {
			t.Fatal(err)
		}
		received.Next(t)
	}
	text := `{"to":"+` + privatePeer + `","text":"` + privateOut + `"}`
	write()
	outcome("p-read", text, "read")
	outcome("p-no-json", `{"to":"+`+privatePeer+`","text":"`+privateBad, "rejected")
	outcome("p-two", `{"to":"+`+privatePeer+`","text":"`+privateBad+`","image":{"id":"1"}}`, "rejected")
	outcome("p-type", `{"to":"+`+privatePeer+`","type":"`+privateBad+`"}`, "rejected")
	for _, code := range []int{131026, 131047, 131016} {
		s.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Session: Demo, Code: code})
		word := "rejected"
		if code == 131016 { // try again
			word = "accepted"
		}
		outcome("p-refused-"+string(rune('a'+code%26)), text, word)
	}
	if s.front == nil {
		for _, variant := range []string{"not_json", "wrong_data", "unknown_type", "no_sequence"} {
			s.fault(t, simulator.Fault{Kind: simulator.FaultMalformed, Session: Demo, Variant: variant})
		}
		s.fault(t, simulator.Fault{Kind: simulator.FaultClose, Session: Demo, Code: 4777})
		write()
		s.fault(t, simulator.Fault{Kind: simulator.FaultAcceptAndCut, Session: Demo})
		outcome("p-cut", text, "accepted")
		s.fault(t, simulator.Fault{Kind: simulator.FaultExpireToken, Session: Demo})
	} else {
		for _, body := range []string{`{"object":"` + privateFrame + `"`, `{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages","value":{"messages":[{"from":"` + privatePeer + `"}]}}]}]}`} {
			s.post(t, []byte(body), "sha256=0000")
		}
	}
	write()
	outcome("p-last", text, "accepted")
}

// streamNames are those of every stream, KV buckets and the media store too.
func (s *Stack) streamNames(t *testing.T) (names []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for name := range s.JS.StreamNames(ctx).Name() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// everythingStored is every byte of every message in JetStream, headers too.
func (s *Stack) everythingStored(t *testing.T) string {
	t.Helper()
	var all bytes.Buffer
	for _, name := range s.streamNames(t) {
		s.eachStored(t, name, func(m natsMsg) { writeMessage(&all, m) })
	}
	return all.String()
}

// subjects are those of everything in JetStream.
func (s *Stack) subjects(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range s.streamNames(t) {
		s.eachStored(t, name, func(m natsMsg) { all.WriteString(m.Subject() + "\n") })
	}
	return all.String()
}

func writeMessage(all *bytes.Buffer, m jetstream.Msg) {
	all.WriteString(m.Subject() + "\n")
	for name, values := range m.Headers() {
		all.WriteString(name + ": " + strings.Join(values, ", ") + "\n")
	}
	all.Write(m.Data())
	all.WriteByte('\n')
}
