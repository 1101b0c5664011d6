package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge/bridgetest"
)

// bury stores dead letters 1 to 5: two of commands, one of a command that is
// too late, one that was cut, one from the platform.
func bury(t *testing.T, server *bridgetest.Server) {
	t.Helper()
	command := func(session, class, ref string, more ...string) []string {
		return append([]string{
			"Wa-Dead-Reason", "rejected: it is \x01 so", "Wa-Dead-Class", class, "Wa-Dead-Code", "131026", "Wa-Dead-Attempts", "2",
			"Wa-Dead-Subject", "wa.send." + session, "Wa-Dead-Sequence", "7", "Wa-Ref", ref, "traceparent", "00-1-2-01",
		}, more...)
	}
	body := `{"to":"+15550142233","text":"hello"}`
	publish(t, server, "wa.dead.demo", body, command("demo", "permanent", "order-1")...)
	publish(t, server, "wa.dead.shop", body, command("shop", "unknown", "order-2")...)
	publish(t, server, "wa.dead.demo", body, command("demo", "expired", "order-3", "Wa-Deadline", "2026-01-01T00:00:00Z")...)
	publish(t, server, "wa.dead.demo", body[:9], command("demo", "invalid", "order-4", "Wa-Dead-Size", "2000000")...)
	publish(t, server, "wa.dead._unrouted", "nonsense", "Wa-Dead-Reason", "not JSON", "Wa-Dead-Class", "invalid", "Wa-Dead-Size", "8")
}

func TestDeadList(t *testing.T) {
	server := natsWithStreams(t)
	bury(t, server)
	for _, test := range []struct{ line, want string }{
		{"dead ls --json", "1 2 3 4 5"},
		{"dead ls --json --session demo", "1 3 4"},
		{"dead ls --json --class invalid", "4 5"},
		{"dead ls --json --session demo --class permanent", "1"},
		{"dead ls --json --since 1h", "1 2 3 4 5"},
		{"dead ls --json --since 2199-01-01T00:00:00Z", ""},
		{"dead ls --json --session other", ""},
	} {
		r := command(t, "", strings.Fields(test.line)...).want(t, exitOK)
		var got []string
		for l := range strings.Lines(r.out) {
			var letter struct{ Sequence json.Number }
			if err := json.Unmarshal([]byte(l), &letter); err != nil {
				t.Fatal(err)
			}
			got = append(got, letter.Sequence.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, want %q", test.line, got, test.want)
		}
	}
	r := command(t, "", "dead", "ls").want(t, exitOK)
	lines := strings.Split(r.out, "\n")
	if len(lines) != 7 || !strings.HasPrefix(lines[0], "SEQUENCE") || !strings.Contains(lines[1], "131026") ||
		!strings.Contains(lines[1], `rejected: it is \x01 so`) {
		t.Errorf("table:\n%s", r.out)
	}
}

func TestDeadShow(t *testing.T) {
	server := natsWithStreams(t)
	bury(t, server)
	r := command(t, "", "dead", "show", "1").want(t, exitOK)
	for _, want := range []string{"dead letter 1 of demo", "Wa-Dead-Code: 131026", `Wa-Dead-Reason: rejected: it is \x01 so`, `{"to":"+15550142233","text":"hello"}`} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in:\n%s", want, r.out)
		}
	}
	r = command(t, "", "dead", "show", "5", "--json").want(t, exitOK)
	full := fullLetter{letter: &letter{}}
	if err := json.Unmarshal([]byte(r.out), &full); err != nil {
		t.Fatal(err)
	}
	if full.Session != "_unrouted" || string(full.Raw) != "nonsense" || full.Size != 0 || full.Header["Wa-Dead-Size"][0] != "8" {
		t.Errorf("letter: %s", r.out)
	}
	if r := command(t, "", "dead", "show", "99").want(t, exitFailed); !strings.Contains(r.errors, "there is no dead letter 99") {
		t.Errorf("errors %q", r.errors)
	}
}

func TestDeadReplay(t *testing.T) {
	server := natsWithStreams(t)
	bury(t, server)
	r := command(t, "", "dead", "replay", "1").want(t, exitOK)
	if r.out != "1  replayed as command 1, ref order-1\n" {
		t.Errorf("out %q", r.out)
	}
	m := storedCommand(t, server, 1)
	h := m.Header
	if m.Subject[strings.LastIndexByte(m.Subject, '.')+1:] != "demo" || string(m.Data) != `{"to":"+15550142233","text":"hello"}` ||
		h.Get("Wa-Ref") != "order-1" || h.Get("Nats-Msg-Id") == "" || h.Get("Nats-Msg-Id") == "order-1" || h.Get("traceparent") != "00-1-2-01" {
		t.Errorf("command on %s: %v %s", m.Subject, h, m.Data)
	}
	for name := range h {
		if strings.HasPrefix(name, "Wa-Dead-") {
			t.Errorf("the command carries %s", name)
		}
	}
	// A second time is not, unless asked for.
	r = command(t, "", "dead", "replay", "1").want(t, exitFailed)
	if !strings.Contains(r.out, "1  skipped: it was replayed already, as command 1") {
		t.Errorf("out %q", r.out)
	}
	command(t, "", "dead", "replay", "1", "--again").want(t, exitOK)
	if m := storedCommand(t, server, 2); m.Header.Get("Wa-Ref") != "order-1" {
		t.Errorf("headers %v", m.Header)
	}
}

func TestDeadReplayAll(t *testing.T) {
	server := natsWithStreams(t)
	bury(t, server)
	r := command(t, "", "dead", "replay", "--all", "--json").want(t, exitOK)
	var done, skipped []string
	for l := range strings.Lines(r.out) {
		var got replayed
		if err := json.Unmarshal([]byte(l), &got); err != nil {
			t.Fatal(err)
		}
		if got.Command > 0 {
			done = append(done, got.Ref)
		} else {
			skipped = append(skipped, got.Skipped)
		}
	}
	if strings.Join(done, " ") != "order-1 order-2" {
		t.Errorf("replayed %q", done)
	}
	want := []string{"its deadline has passed", "only its beginning was kept", "it came from the platform"}
	if len(skipped) != len(want) {
		t.Fatalf("skipped %q", skipped)
	}
	for i, w := range want {
		if !strings.Contains(skipped[i], w) {
			t.Errorf("skipped %q, want %q", skipped[i], w)
		}
	}
	command(t, "", "dead", "replay", "--all", "--class", "expired", "--ignore-deadline").want(t, exitOK)
	if m := storedCommand(t, server, 3); m.Header.Get("Wa-Ref") != "order-3" || m.Header.Get("Wa-Deadline") != "" {
		t.Errorf("headers %v", m.Header)
	}
}

func storedCommand(t *testing.T, server *bridgetest.Server, sequence uint64) *jetstream.RawStreamMsg {
	t.Helper()
	s, err := server.JetStream(t).Stream(t.Context(), "WA_SEND")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestReplayProgress: a person who watches sees how far a long replay is.
func TestReplayProgress(t *testing.T) {
	server := natsWithStreams(t)
	bury(t, server)
	c, err := dial(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close(t.Context())
	var progress strings.Builder
	p := replay{client: c, out: io.Discard, progress: &progress, watched: true}
	f := letterFilter{}
	if err := f.check(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := p.run(t.Context(), nil, &f); err != nil {
		t.Fatal(err)
	}
	first, last := "\r1 replayed, 0 skipped, 4 to look at ", "\r2 replayed, 3 skipped, 0 to look at \x1b[K\n"
	if got := progress.String(); !strings.HasPrefix(got, first) || !strings.HasSuffix(got, last) {
		t.Errorf("progress %q", got)
	}
}
