package stack

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// ask sends one request to the micro service, wants a code ("" is success) and
// gives the answer.
func (s *Stack) ask(t *testing.T, code string, m *nats.Msg) map[string]any {
	t.Helper()
	m.Subject = "wa.ctl." + m.Subject
	answer, err := s.NATS.Conn(t).RequestMsg(m, patience)
	if err != nil {
		t.Fatalf("asking %s: %v", m.Subject, err)
	}
	if got := answer.Header.Get(micro.ErrorCodeHeader); got != code {
		t.Fatalf("%s answers with code %q, want %q: %s %s", m.Subject, got, code, answer.Header.Get(micro.ErrorHeader), answer.Data)
	}
	if text := answer.Header.Get(micro.ErrorHeader); code != "" && (text == "" || strings.Contains(text, "\n")) {
		t.Errorf("%s: the error is no clear line: %q", m.Subject, text)
	}
	said := map[string]any{}
	if len(answer.Data) > 0 {
		if err := json.Unmarshal(answer.Data, &said); err != nil {
			t.Fatalf("%s answers %q: %v", m.Subject, answer.Data, err)
		}
	}
	return said
}

func request(subject, body string, header ...string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for i := 0; i < len(header); i += 2 {
		m.Header[header[i]] = []string{header[i+1]}
	}
	return m
}

// The micro service alone runs the bridge: it is found, tells the status, sends
// and answers with the outcome, pauses, resumes, and sends dead letters again.
func TestMicroService(t *testing.T) {
	s := New(t, Config{})
	conn := s.NATS.Conn(t)
	var info micro.Info
	bridgetest.Eventually(t, patience, func() bool {
		answer, err := conn.Request("$SRV.INFO.wabridge", nil, time.Second)
		return err == nil && json.Unmarshal(answer.Data, &info) == nil && len(info.Endpoints) == 6
	}, "the service is not found: %+v", &info)

	one := s.ask(t, "", request("status."+Demo, ""))
	if one["session"] != Demo || one["state"] != "connected" || one["platform"] != bridge.PlatformChatAPI || one["replica"] != "one" {
		t.Errorf("status: %v", one)
	}
	if all, ok := s.ask(t, "", request("status", ""))["sessions"].([]any); !ok || len(all) != 1 {
		t.Errorf("status of all: %v", all)
	}
	for _, what := range []string{"status.nobody", "pause.nobody", "resume.nobody", "send.nobody"} {
		s.ask(t, "404", request(what, `{"to":"+15550142233","text":"x"}`))
	}

	body := `{"to":"+15550142233","text":"hello"}`
	first := s.ask(t, "", request("send."+Demo, body, "Nats-Msg-Id", "micro-1"))
	report, _ := first["report"].(map[string]any)
	if first["status"] != "accepted" || report["ref"] != "micro-1" {
		t.Errorf("send: %v", first)
	}
	again := s.ask(t, "", request("send."+Demo, body, "Nats-Msg-Id", "micro-1"))
	if again["status"] != "accepted" || again["sequence"] != first["sequence"] {
		t.Errorf("the same id again: %v, want the outcome of %v", again, first)
	}
	refused := s.ask(t, "", request("send."+Demo, `{"to":"nobody","text":"x"}`, "Wa-Ref", "micro-2"))
	if refused["status"] != "rejected" {
		t.Errorf("send: %v", refused)
	}

	dead, err := s.JS.Stream(t.Context(), s.Names.DeadStream())
	if err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, patience, func() bool {
		info, err := dead.Info(t.Context())
		return err == nil && info.State.Msgs == 1
	}, "there is no dead letter")
	redriven := s.ask(t, "", request("redrive."+Demo, "1"))
	if redriven["ref"] != "micro-2" || redriven["command"] == nil {
		t.Errorf("redrive: %v", redriven)
	}
	s.ask(t, "409", request("redrive."+Demo, "1"))
	s.ask(t, "", request("redrive."+Demo, `{"sequence": 1, "again": true}`))
	s.ask(t, "404", request("redrive."+Demo, "1000"))
	s.ask(t, "404", request("redrive.other", "1"))
	for _, bad := range []string{"", "0", "x", `{"sequence":"x"}`, `{`, `{"sequence":1,"again":"yes"}`} {
		s.ask(t, "400", request("redrive."+Demo, bad))
	}

	if said := s.ask(t, "", request("pause."+Demo, "")); said["changed"] != true {
		t.Errorf("pause: %v", said)
	}
	s.WaitState(t, Demo, bridge.Paused)
	if said := s.ask(t, "", request("pause."+Demo, "")); said["changed"] != false {
		t.Errorf("pause again: %v", said)
	}
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	s.Publish(t, Demo, "waits", body)
	if said := s.ask(t, "", request("resume."+Demo, "")); said["changed"] != true {
		t.Errorf("resume: %v", said)
	}
	s.WaitState(t, Demo, bridge.Connected)
	statuses.Until(t, func(m natsMsg) bool { ref, word := StatusOf(t, m); return ref == "waits" && word == "accepted" })
	if said := s.ask(t, "", request("resume."+Demo, "")); said["changed"] != false {
		t.Errorf("resume of what runs: %v", said)
	}
}

// A session that waits for permission goes on when somebody resumes it.
func TestMicroResumesForbidden(t *testing.T) {
	s := New(t, Config{})
	if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultClose, Session: Demo, Code: 4403}); err != nil {
		t.Fatal(err)
	}
	s.WaitState(t, Demo, bridge.Forbidden)
	if said := s.ask(t, "", request("resume."+Demo, "")); said["changed"] != true {
		t.Errorf("resume: %v", said)
	}
	s.WaitState(t, Demo, bridge.Connected)
}
