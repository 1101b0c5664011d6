package stack

import (
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// What a user writes arrives byte for byte, whatever JSON allows in it.
func TestReceiveByteForByte(t *testing.T) {
	s := New(t, Config{})
	records := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	message := `{ "from":"15550142233","id":"wamid.HBgLMTU1NTAxNDIyMzM=","timestamp" : "1795430000", "type":"text",` +
		`"text":{"body":"<b> \/ \u00e9 é & ü"},  "big":9007199254740993,"unknown":[1.50e+3, null ]}`
	data := `{"message":` + message + `,"contact":{"profile":{"name":"Marta"},"wa_id":"15550142233"},` +
		`"metadata":{"display_phone_number":"15550199001","phone_number_id":"880090070060050"}}`
	if _, err := s.Sim.Emit(Demo, "message.text", "15550142233", []byte(data)); err != nil {
		t.Fatal(err)
	}
	m := records.Next(t)
	if string(m.Data()) != data {
		t.Errorf("stored\n%s\nwant\n%s", m.Data(), data)
	}
	checkHeaders(t, m, map[string]string{
		"ce-type": "whatsapp.message.text", "ce-source": "/wabridge/" + Demo, "ce-subject": "15550142233",
		"Nats-Msg-Id": Demo + ":wamid.HBgLMTU1NTAxNDIyMzM=",
	})
}

// The platform is acked after JetStream has the message, and not before.
func TestReceiveAcksAfterJetStream(t *testing.T) {
	s := New(t, Config{})
	records := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	write := func(text string) {
		t.Helper()
		if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"`+text+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	write("before")
	records.Next(t)
	unacked := func() int { return s.Sim.Stats().Sessions[Demo].Unacked }
	bridgetest.Eventually(t, patience, func() bool { return unacked() == 0 }, "the first message is not acked")

	s.NATS.Stop()
	write("while JetStream is away")
	// Time for a wrong ack to arrive.
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if unacked() == 0 {
			t.Fatal("acked while JetStream was stopped")
		}
		<-time.After(10 * time.Millisecond)
	}
	s.NATS.Restart(t)
	if m := records.Next(t); !strings.Contains(string(m.Data()), "while JetStream is away") {
		t.Errorf("stored %s", m.Data())
	}
	bridgetest.Eventually(t, patience, func() bool { return unacked() == 0 }, "not acked after JetStream came back")
	s.WaitState(t, Demo, bridge.Connected)
}
