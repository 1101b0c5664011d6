package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
)

func TestStreams(t *testing.T) {
	server := bridgetest.NATS(t)
	environment(t, "NATS_URL="+server.URL(), "SHARDS=8")
	r := command(t, "", "streams").want(t, exitFailed)
	if strings.Count(r.out, "missing") != 11 || !strings.Contains(r.errors, "11 streams are missing") {
		t.Errorf("out:\n%s\nerrors: %s", r.out, r.errors)
	}
	// An operator creates what --json says.
	r = command(t, "", "streams", "--json").want(t, exitOK)
	var specs []jetstream.StreamConfig
	if err := json.Unmarshal([]byte(r.out), &specs); err != nil {
		t.Fatal(err)
	}
	js := server.JetStream(t)
	for _, spec := range specs {
		if _, err := js.CreateStream(t.Context(), spec); err != nil {
			t.Fatalf("creating %s: %v", spec.Name, err)
		}
	}
	if r := command(t, "", "streams").want(t, exitOK); strings.Count(r.out, "  ok\n") != len(specs) {
		t.Errorf("out:\n%s", r.out)
	}
	// The number of shards is that of the stream, where none is configured.
	environment(t, "NATS_URL="+server.URL(), "MANAGE_STREAMS=off")
	command(t, "", "streams").want(t, exitOK)
	createStreams(t, broker.Config{URL: server.URL(), Logger: slog.New(slog.DiscardHandler)})
}

func TestStreamsThatContradict(t *testing.T) {
	server := natsWithStreams(t)
	js := server.JetStream(t)
	changeStream(t, js, "WA_RECV", func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[:2] })
	changeStream(t, js, "WA_SEND", func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30 })
	r := command(t, "", "streams").want(t, exitFailed)
	if !strings.Contains(r.out, "stream WA_RECV: subjects is") || strings.Count(r.out, "  ok\n") != 10 {
		t.Errorf("out:\n%s", r.out)
	}
	r = command(t, "", "check").want(t, exitFailed)
	if !strings.Contains(r.out, "failed   streams           stream WA_RECV: subjects is") {
		t.Errorf("out:\n%s", r.out)
	}
	if !strings.Contains(r.out, "warning  streams           WA_SEND is limited to 1073741824 bytes") {
		t.Errorf("out:\n%s", r.out)
	}
}

func changeStream(t *testing.T, js jetstream.JetStream, name string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	change(&c)
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}
