package app

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// told lists the states that WA_RECV holds of a session.
func (h *house) told(t *testing.T, session string) []string {
	t.Helper()
	c, err := h.broker.JetStream().OrderedConsumer(t.Context(), h.names.RecvStream(),
		jetstream.OrderedConsumerConfig{FilterSubjects: []string{h.names.Event(session)}})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.FetchNoWait(100)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for m := range batch.Messages() {
		states = append(states, string(m.Data()))
	}
	return states
}

// define applies an entry of the bucket, as watch does.
func (h *house) define(key, value string) {
	h.definitions.apply(&bridge.Entry{Key: key, Value: []byte(value), Deleted: value == ""})
}

func TestTheCommandsOfAFaultyDefinitionWait(t *testing.T) {
	h := newHouse(t)
	h.definitions.changed, h.definitions.faulty = h.redefine, h.faulty
	h.define("new", `{"platform":"cloudapi","colour":"blue"}`)
	h.define("none", `not JSON`)
	h.define("bare", `{"client_id":"x"}`)
	if err := h.announcer.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if states := h.told(t, "new"); len(states) != 0 {
		t.Errorf("a replica that owns no shard told %v", states)
	}
	// As after a restart: the shard begins with what the bucket holds.
	sequence := h.send(t, "new", "a", good)
	h.Start(0, nil)
	for session, fault := range map[string]string{"new": "colour", "none": "not JSON", "bare": "platform is missing"} {
		bridgetest.Eventually(t, long, func() bool { return h.announcer.state(session) == bridge.Stopped })
		if err := h.announcer.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		states := h.told(t, session)
		if len(states) != 1 || !strings.Contains(states[0], `"stopped"`) || !strings.Contains(states[0], fault) {
			t.Errorf("session %s: told %v, want once that it is stopped, and %s", session, states, fault)
		}
	}
	one := h.running("new")
	s := h.shard(0)
	bridgetest.Eventually(t, long, func() bool {
		late := time.Now().Add(time.Hour)
		h.outbound.Sweep(late)
		s.orphans.Sweep(late)
		return one.out.Stalled(time.Now().Add(time.Hour), time.Minute)
	}, "the command does not wait")
	if len(one.out.Settled()) != 0 || len(s.orphans.Settled()) != 0 {
		t.Errorf("command %d is settled", sequence)
	}

	// Mended, it is another session; broken again, it stays what it was.
	h.define("new", `{"platform":"chatapi","paused":true}`)
	bridgetest.Eventually(t, long, func() bool { return h.announcer.state("new") == bridge.Paused })
	h.define("new", `{"platform":"chatapi","colour":"blue"}`)
	if def, ok := h.definitions.get("new"); !ok || def.Fault != "" || !def.Paused {
		t.Errorf("a faulty change replaced what runs: %+v, %v", def, ok)
	}
	h.define("none", "")
	bridgetest.Eventually(t, long, func() bool { return h.running("none") == nil })
}

func TestAFaultyDefinitionKeepsItsPlatform(t *testing.T) {
	for value, want := range map[string]string{
		`{"platform":"cloudapi","colour":1}`: bridge.PlatformCloudAPI,
		`{"platform":"chatapi","url":1}`:     bridge.PlatformChatAPI,
		`{"platform":"telex"}`:               "",
		`{"platform":7}`:                     "",
		`not JSON`:                           "",
	} {
		if got := platformOf([]byte(value)); got != want {
			t.Errorf("%s: platform %q, want %q", value, got, want)
		}
	}
}
