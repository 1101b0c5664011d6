package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge/bridgetest"
)

// screen is a terminal that can be looked at while a command writes to it.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *screen) lines() []string {
	return slices.Collect(strings.Lines(s.String()))
}

// watch runs a command that runs until it is interrupted; stop interrupts it
// and gives its exit code.
func watch(t *testing.T, args ...string) (s *screen, stop func() int) {
	t.Helper()
	s = &screen{}
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- run(ctx, args, strings.NewReader(""), s, s) }()
	stop = sync.OnceValue(func() int { cancel(); return <-code })
	t.Cleanup(func() { stop() })
	return s, stop
}

// publish stores a message, so that those before it are older.
func publish(t *testing.T, server *bridgetest.Server, subject, body string, header ...string) {
	t.Helper()
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(header); i += 2 {
		msg.Header[header[i]] = []string{header[i+1]}
	}
	if _, err := server.JetStream(t).PublishMsg(t.Context(), msg); err != nil {
		t.Fatalf("publishing to %s: %v", subject, err)
	}
}

const inbound = `{"message":{"from":"15550142233","id":"wamid.X","timestamp":"1795430000","type":"text",` +
	`"text":{"body":"thanks\u001b[2J"}},"contact":{},"metadata":{}}`

// say publishes one message of each kind, in the order of tailKinds.
func say(t *testing.T, server *bridgetest.Server, session string) {
	t.Helper()
	publish(t, server, "wa.send."+session, `{"to":"+15550142233","text":"hello"}`)
	publish(t, server, "wa.recv."+session, inbound)
	publish(t, server, "wa.status."+session, `{"ref":"order-1","id":"wamid.X","to":"+15550142233","status":"delivered","rank":3,"at":"2026-11-23T12:00:00Z"}`)
	publish(t, server, "wa.event."+session, `{"field":"session_state","value":{"state":"connected"}}`)
	publish(t, server, "wa.dead."+session, `nonsense`, "Wa-Dead-Reason", "not JSON", "Wa-Dead-Class", "invalid")
}

// spoken are the lines that say makes, without the time.
func spoken(session string) []string {
	var lines []string
	for i, text := range []string{
		`to 15550142233  text  "hello"`,
		`from 15550142233  text  "thanks\x1b[2J"`,
		`delivered  to +15550142233  ref order-1`,
		`session_state  {"state":"connected"}`,
		`invalid  not JSON  nonsense`,
	} {
		lines = append(lines, fmt.Sprintf("%-6s  %-12s  %s\n", tailKinds()[i], session, text))
	}
	return lines
}

func withoutTime(lines []string) []string {
	var rest []string
	for _, l := range lines {
		_, text, _ := strings.Cut(l, "  ")
		rest = append(rest, text)
	}
	return rest
}

func TestTailPastAndPresent(t *testing.T) {
	server := natsWithStreams(t)
	say(t, server, "demo")
	s, stop := watch(t, "tail", "--since", "1h")
	bridgetest.Eventually(t, 20*time.Second, func() bool { return len(s.lines()) == 5 }, "the past: %v", s)
	if got := withoutTime(s.lines()); !slices.Equal(got, spoken("demo")) {
		t.Errorf("past:\n%q\nwant\n%q", got, spoken("demo"))
	}
	say(t, server, "shop")
	bridgetest.Eventually(t, 20*time.Second, func() bool { return len(s.lines()) == 10 }, "the present: %v", s)
	// The streams are independent of each other in the present.
	got, want := withoutTime(s.lines())[5:], spoken("shop")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("present:\n%q\nwant\n%q", got, want)
	}
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d after an interrupt", code)
	}
}

func TestTailOneKindOneSession(t *testing.T) {
	server := natsWithStreams(t)
	say(t, server, "demo")
	say(t, server, "shop")
	for i, kind := range tailKinds() {
		s, _ := watch(t, "tail", kind, "shop", "--since", "1h")
		bridgetest.Eventually(t, 20*time.Second, func() bool { return len(s.lines()) >= 1 }, "%s: %v", kind, s)
		if got := withoutTime(s.lines()); !slices.Equal(got, spoken("shop")[i:i+1]) {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

func TestTailJSON(t *testing.T) {
	server := natsWithStreams(t)
	say(t, server, "demo")
	s, _ := watch(t, "tail", "--since", "2020-01-01T00:00:00Z", "--json")
	bridgetest.Eventually(t, 20*time.Second, func() bool { return len(s.lines()) == 5 }, "lines: %v", s)
	for i, l := range s.lines() {
		var got tailed
		if err := json.Unmarshal([]byte(l), &got); err != nil {
			t.Fatal(err)
		}
		kind := tailKinds()[i]
		if got.Subject != "wa."+kind+".demo" || got.Time.IsZero() || got.Sequence == 0 || got.Stream == "" {
			t.Errorf("%s: %s", kind, l)
		}
		switch kind {
		case "dead":
			if string(got.Raw) != "nonsense" || got.Header["Wa-Dead-Class"][0] != "invalid" {
				t.Errorf("dead: %s", l)
			}
		case "recv":
			if string(got.Data) != inbound {
				t.Errorf("recv: %s", got.Data)
			}
		}
	}
}

func TestColour(t *testing.T) {
	p := newPrinter(&screen{}, names(t), false)
	if p.colour {
		t.Error("colour without a terminal")
	}
	seen := map[string]bool{}
	for _, kind := range tailKinds() {
		seen[colourOf(kind)] = true
	}
	if len(seen) != len(tailKinds()) {
		t.Error("two kinds have the same colour")
	}
}
