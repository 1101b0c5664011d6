package stack

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
	"wabridge/codec"
)

// schemas are those that the program prints.
type schemas map[string]*jsonschema.Schema

func compileSchemas(t *testing.T) schemas {
	t.Helper()
	const base = "https://wabridge.invalid/"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, name := range codec.SchemaNames() {
		text, _ := codec.Schema(name)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(base+codec.SchemaFile(name), doc); err != nil {
			t.Fatal(err)
		}
	}
	all := make(schemas)
	for _, name := range codec.SchemaNames() {
		if name == codec.AsyncAPI {
			continue
		}
		s, err := c.Compile(base + codec.SchemaFile(name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = s
	}
	return all
}

// check validates one stored message, its headers and its body, and returns what
// it is validated as.
func (s schemas) check(t *testing.T, names bridge.Names, m natsMsg) string {
	t.Helper()
	headers := make(map[string]any)
	for name, v := range m.Headers() {
		headers[name] = v[0]
	}
	kind, _, _ := strings.Cut(strings.TrimPrefix(m.Subject(), names.Prefix()+"."), ".")
	if kind == "dead" {
		if err := s["dead-headers"].Validate(headers); err != nil {
			t.Errorf("headers of a dead letter, %v: %v", headers, err)
		}
		return kind
	}
	if err := s["headers"].Validate(headers); err != nil {
		t.Errorf("headers on %s, %v: %v", m.Subject(), headers, err)
	}
	for name := range headers {
		if s["headers"].Properties[name] == nil {
			t.Errorf("the header %s on %s is not described", name, m.Subject())
		}
	}
	as := map[string]string{"recv": "message", "status": "status", "event": "event"}[kind]
	if headers["Wa-Object"] != nil {
		as = "object"
	}
	body, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Data()))
	if err != nil {
		t.Fatalf("%s is not JSON: %v", m.Subject(), err)
	}
	if err := s[as].Validate(body); err != nil {
		t.Errorf("%s: %.300s: %v", m.Subject(), m.Data(), err)
	}
	return as
}

// Everything that the bridge stores validates against the schemas that it
// prints, over a run with every type, status and kind of event of the corpus,
// with refusals, with what cannot be read and with what is too large.
func TestSchemas(t *testing.T) {
	s := New(t, Config{Options: []bridgetest.Option{bridgetest.MaxPayload(256 << 10)}})
	published := s.publishVaried(t)
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	for outcomes, reads := 0, 0; outcomes < published || reads < 10; {
		switch _, word := StatusOf(t, statuses.Next(t)); word {
		case "accepted", "rejected", "expired", "unknown":
			outcomes++
		case "read":
			reads++
		}
	}
	s.receiveVaried(t)
	s.Stop(t)

	all := compileSchemas(t)
	seen := make(map[string]int)
	for _, stream := range []string{s.Names.RecvStream(), s.Names.DeadStream()} {
		s.eachStored(t, stream, func(m natsMsg) {
			seen[all.check(t, s.Names, m)]++
			seen[m.Headers().Get("ce-type")]++
			seen[m.Headers().Get("Wa-Dead-Class")]++
		})
	}
	for what, least := range map[string]int{
		"message": 40, "status": 2 * published, "event": 25, "object": 1, "dead": 8,
		"whatsapp.message.text": 5, "whatsapp.message.order": 1, "whatsapp.message.unsupported": 1,
		"whatsapp.status.rejected": 2, "whatsapp.status.expired": 1, "whatsapp.status.read": 10, "whatsapp.status.failed": 5,
		"whatsapp.event.session_state": 2, "whatsapp.event.account_update": 1,
		"invalid": 3, "permanent": 1, "expired": 1,
	} {
		if seen[what] < least {
			t.Errorf("%d messages of %s were stored, want at least %d", seen[what], what, least)
		}
	}

	states := make([]any, 0, len(bridge.States()))
	for _, state := range bridge.States() {
		states = append(states, string(state))
	}
	described := all["event"].AllOf[0].Then.Properties["value"].Ref.Properties["state"].Enum.Values
	if !reflect.DeepEqual(described, states) {
		t.Errorf("the schema knows the states %v, want %v", described, states)
	}
}

// publishVaried publishes commands that end in every way, and returns how many.
func (s *Stack) publishVaried(t *testing.T) (published int) {
	t.Helper()
	if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultRefuse, Session: Demo, Number: "15550140001", Code: 131047}); err != nil {
		t.Fatal(err)
	}
	for _, file := range corpusFiles(t, "send", 33) {
		s.Publish(t, Demo, filepath.Base(file), string(read(t, file)))
		published++
	}
	for _, c := range []struct{ ref, body, deadline string }{
		{"refused", `{"to":"+15550140001","text":"x"}`, ""},
		{"late", `{"to":"+15550140002","text":"x"}`, "2020-01-01T00:00:00Z"},
		{"not-json", `{"to"`, ""},
		{"ünprintable\u00a0ref", `{"to":"+15550140003","text":"x"}`, ""},
	} {
		m := nats.NewMsg(s.Names.Send(Demo))
		m.Header.Set(codec.HeaderRef, c.ref)
		if c.deadline != "" {
			m.Header.Set(codec.HeaderDeadline, c.deadline)
		}
		m.Data = []byte(c.body)
		s.PublishMsg(t, m)
		published++
	}
	return published
}

// receiveVaried has the platform say everything of the corpus, and what no
// message can hold, and waits until all is stored.
func (s *Stack) receiveVaried(t *testing.T) {
	t.Helper()
	for _, file := range corpusFiles(t, "webhook", 77) {
		if _, err := s.Sim.EmitWebhook(Demo, read(t, file)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	for _, variant := range []string{"not_json", "unknown_type", "wrong_data"} {
		if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultMalformed, Session: Demo, Variant: variant}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"beside a bad frame"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Sim.Inject(t.Context(), simulator.Load{Session: Demo, Name: "large", Count: 1, Conversations: 1, Size: 300 << 10}); err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Sessions[Demo].Unacked == 0 }, "not everything is stored")
}

// eachStored reads a stream from its beginning to its end.
func (s *Stack) eachStored(t *testing.T, stream string, each func(natsMsg)) {
	t.Helper()
	str, err := s.JS.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := str.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	records := s.Follow(t, stream)
	for range info.State.Msgs {
		each(records.Next(t))
	}
}
