package simulator_test

import (
	"fmt"
	"strings"
	"testing"

	"wabridge/bridge/simulator"
)

func TestOfflinePhoneGetsEverythingLater(t *testing.T) {
	p := newPlatform(t, nil)
	if err := p.SetUser(simulator.User{Number: marta, Offline: true, Unread: true}); err != nil {
		t.Fatal(err)
	}
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	l.send("a", textTo(marta, "x"))
	id := l.result().Messages[0].ID
	l.expect("whatsapp.status.sent")
	if ph, _ := p.Phone(marta); len(ph.Messages) != 0 {
		t.Error("it arrived at a phone that is off")
	}
	if err := p.SetUser(simulator.User{Number: marta, Unread: true}); err != nil {
		t.Fatal(err)
	}
	l.expect("whatsapp.status.delivered")
	if err := p.Read(marta, id); err != nil {
		t.Fatal(err)
	}
	l.expect("whatsapp.status.read")
	p.clean(t)
}

func TestGroupHasStatusesOfEveryParticipant(t *testing.T) {
	p := newPlatform(t, nil)
	if err := p.SetUser(simulator.User{Number: "Z3JvdXA=", Participants: []string{"1001", "1002"}}); err != nil {
		t.Fatal(err)
	}
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	l.send("a", `{"messaging_product":"whatsapp","recipient_type":"group","to":"Z3JvdXA=","type":"text","text":{"body":"x"}}`)
	l.result()
	l.expect("whatsapp.status.sent")
	for _, status := range []string{"delivered", "read"} {
		for _, participant := range []string{"1001", "1002"} {
			data := decode[map[string]any](t, l.expect("whatsapp.status."+status).Data)
			if data["recipient_participant_id"] != participant || data["recipient_type"] != "group" || data["recipient_id"] != "Z3JvdXA=" {
				t.Errorf("status: %v", data)
			}
		}
	}
	p.clean(t)
}

func TestUserWithoutANumber(t *testing.T) {
	const bsuid = "US.13491208655302741918"
	p := newPlatform(t, nil)
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	l.send("a", `{"messaging_product":"whatsapp","recipient":"`+bsuid+`","type":"text","text":{"body":"x"}}`)
	l.result()
	for _, s := range []string{"sent", "delivered", "read"} {
		data := decode[map[string]any](t, l.expect("whatsapp.status."+s).Data)
		if data["recipient_user_id"] != bsuid || data["recipient_id"] != nil {
			t.Errorf("status: %v", data)
		}
	}
	if _, err := p.Write(bsuid, []byte(`{"session":"demo","text":"hi"}`)); err != nil {
		t.Fatal(err)
	}
	if e := l.expect("whatsapp.message.text"); !strings.Contains(string(e.Data), `"from_user_id":"`+bsuid+`"`) || strings.Contains(string(e.Data), `"from":`) {
		t.Errorf("message: %s", e.Data)
	}
	p.clean(t)
}

func TestWithoutDedupeARepeatIsDeliveredAgain(t *testing.T) {
	p := newPlatform(t, func(c *simulator.Config) { c.Sessions[0].NoDedupe = true })
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	for range 2 {
		l.send("same", textTo(marta, "x"))
		for l.next().Type != "whatsapp.status.read" {
			continue
		}
	}
	if ph, _ := p.Phone(marta); len(ph.Messages) != 2 || ph.Messages[0].ID == ph.Messages[1].ID {
		t.Errorf("messages: %+v", ph.Messages)
	}
	if list, _ := p.Sent("demo", 1, 10); len(list) != 1 || list[0].Ref != "same" {
		t.Errorf("sent: %+v", list)
	}
}

func ExampleSimulator_Write() {
	sim, err := simulator.New(simulator.Config{Sessions: []simulator.SessionConfig{{ID: "demo"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = sim.Close() }() // nothing is kept
	if _, err := sim.Write("15550142233", []byte(`{"session":"demo","text":"hello"}`)); err != nil {
		fmt.Println(err)
		return
	}
	phone, _ := sim.Phone("15550142233")
	fmt.Println(phone.Messages[0].Type, sim.Stats().Sessions["demo"].Unacked)
	// Output: text 1
}
