package simulator_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"wabridge/bridge/simulator"
)

const marta = "15550142233"

func TestSendIsAnsweredThenDeliveredAndRead(t *testing.T) {
	p := newPlatform(t, nil)
	l := p.dial(t, p.token(t))
	ready := decode[struct {
		Session, Epoch string
		Scopes         []string
		Window         int
	}](t, l.expect("whatsapp.session.ready").Data)
	if ready.Session != "demo" || ready.Epoch == "" || len(ready.Scopes) != 2 || ready.Window != 256 {
		t.Errorf("ready: %+v", ready)
	}
	l.send("order-1", `{"messaging_product":"whatsapp","to":"+1 (555) 014-2233","type":"text","text":{"body":"hi"},"biz_opaque_callback_data":"a;\"b"}`)
	res := l.result()
	if res.Ref != "order-1" || len(res.Messages) != 1 || res.Duplicate || res.Error != nil {
		t.Fatalf("result: %+v", res)
	}
	id := res.Messages[0].ID
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(id, "wamid."))
	if err != nil || !strings.Contains(string(raw), marta) {
		t.Errorf("id %s does not hold the number (%v)", id, err)
	}
	for i, status := range []string{"sent", "delivered", "read"} {
		e := l.expect("whatsapp.status." + status)
		data := decode[map[string]any](t, e.Data)
		if data["id"] != id || data["status"] != status || data["biz_opaque_callback_data"] != `a;"b` || data["recipient_id"] != marta {
			t.Errorf("%s: %s", status, e.Data)
		}
		if e.Sequence != fmt.Sprintf("%020d", i+1) || e.Subject != marta {
			t.Errorf("%s: sequence %s subject %s", status, e.Sequence, e.Subject)
		}
	}
	phone, ok := p.Phone("+" + marta)
	if !ok || len(phone.Messages) != 1 || phone.Messages[0].Status != "read" || phone.Messages[0].Ref != "order-1" {
		t.Errorf("phone: %+v", phone)
	}
	l.ack(3)
	eventually(t, "ack", func() bool { return p.Stats().Sessions["demo"].Unacked == 0 })
	p.clean(t)
}

func TestRepeatIsAbsorbedAndExplained(t *testing.T) {
	p := newPlatform(t, nil)
	token := p.token(t)
	if _, err := p.AddFault(simulator.Fault{Kind: simulator.FaultDropAnswer}); err != nil {
		t.Fatal(err)
	}
	l := p.dial(t, token)
	l.expect("whatsapp.session.ready")
	l.send("r1", textTo(marta, "once"))
	l.expect("whatsapp.status.sent")
	if err := l.ws.Close(); err != nil {
		t.Fatal(err)
	}
	l = p.dial(t, token)
	l.expect("whatsapp.session.ready")
	l.send("r1", textTo(marta, "once"))
	var res result
	for e := l.next(); ; e = l.next() {
		if e.Type == "whatsapp.result" {
			res = decode[result](t, e.Data)
			break
		}
	}
	if !res.Duplicate {
		t.Errorf("result: %+v", res)
	}
	repeats := p.Repeats("demo")
	if len(repeats) != 1 || repeats[0].Ref != "r1" || repeats[0].Answered || !repeats[0].Reconnected || repeats[0].ID != res.Messages[0].ID {
		t.Errorf("repeats: %+v", repeats)
	}
	eventually(t, "delivery", func() bool { ph, _ := p.Phone(marta); return len(ph.Messages) == 1 })
	p.clean(t)
}

func TestEventsComeAgainFromTheLastAck(t *testing.T) {
	p := newPlatform(t, nil)
	token := p.token(t)
	raw := "{\"message\":{\"id\":\"wamid.x\",\"t\":\"<\\/\\u00e9\",  \"n\": 9007199254740993 }}"
	for i := range 5 {
		if n, err := p.Emit("demo", "message.text", marta, []byte(raw)); err != nil || n != uint64(i+1) {
			t.Fatalf("emit: %d %v", n, err)
		}
	}
	l := p.dial(t, token)
	epoch := decode[struct{ Epoch string }](t, l.expect("whatsapp.session.ready").Data).Epoch
	for range 5 {
		if e := l.expect("whatsapp.message.text"); string(e.Data) != raw {
			t.Errorf("data: %s", e.Data)
		}
	}
	l.ack(2)
	eventually(t, "ack", func() bool { return p.Stats().Sessions["demo"].Acked == 2 })
	newer := p.dial(t, token)
	if ce := l.closed(); ce.Code != 4409 {
		t.Errorf("closed with %d", ce.Code)
	}
	if again := decode[struct{ Epoch string }](t, newer.expect("whatsapp.session.ready").Data).Epoch; again != epoch {
		t.Errorf("epoch changed")
	}
	for i := 3; i <= 5; i++ {
		if e := newer.expect("whatsapp.message.text"); e.Sequence != fmt.Sprintf("%020d", i) {
			t.Errorf("sequence %s, want %d", e.Sequence, i)
		}
	}
	p.clean(t)
}

func TestUserWrites(t *testing.T) {
	p := newPlatform(t, nil)
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	if err := p.SetUser(simulator.User{Number: marta, Name: "Marta"}); err != nil {
		t.Fatal(err)
	}
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	l.raw(`{"specversion":"1.0","id":"q1","source":"/wabridge/demo","type":"whatsapp.send","traceparent":"` + trace + `","data":{"messaging_product":"whatsapp","to":"+` + marta +
		`","type":"interactive","interactive":{"type":"button","body":{"text":"?"},"action":{"buttons":[{"type":"reply","reply":{"id":"y","title":"Yes"}}]}}}}`)
	sent := l.result().Messages[0].ID
	for _, s := range []string{"sent", "delivered", "read"} {
		if e := l.expect("whatsapp.status." + s); e.TraceParent != trace {
			t.Errorf("%s has traceparent %q", s, e.TraceParent)
		}
	}
	status, answer := p.call(t, "POST", "/control/users/"+marta+"/messages", fmt.Sprintf(`{"session":"demo","button_reply":"y","reply_to":%q}`, sent))
	if status != 200 {
		t.Fatalf("status %d: %v", status, answer)
	}
	e := l.expect("whatsapp.message.interactive")
	m := decode[struct {
		Message struct {
			From, ID, Type string
			Context        struct{ From, ID string }
			Interactive    struct {
				Type  string
				Reply struct{ ID, Title string } `json:"button_reply"`
			}
		}
		Contact  struct{ Profile struct{ Name string } }
		Metadata map[string]string
	}](t, e.Data)
	if m.Message.From != marta || m.Message.ID != answer["id"] || m.Message.Context.ID != sent || m.Message.Interactive.Reply.Title != "Yes" ||
		m.Contact.Profile.Name != "Marta" || m.Metadata["phone_number_id"] == "" || e.TraceParent != trace {
		t.Errorf("message: %s (%s)", e.Data, e.TraceParent)
	}
	if _, err := p.Write(marta, []byte(`{"session":"demo","type":"location","location":{"latitude":1.50,  "longitude":2}}`)); err != nil {
		t.Fatal(err)
	}
	if e := l.expect("whatsapp.message.location"); !strings.Contains(string(e.Data), `"location":{"latitude":1.50,  "longitude":2}`) {
		t.Errorf("content was rewritten: %s", e.Data)
	}
	l.send("read-1", fmt.Sprintf(`{"messaging_product":"whatsapp","status":"read","message_id":%q}`, m.Message.ID))
	if res := l.result(); res.Error != nil || len(res.Messages) != 0 {
		t.Errorf("mark as read: %+v", res)
	}
	ph, _ := p.Phone(marta)
	if len(ph.Messages) != 3 || ph.Messages[1].Status != "read" {
		t.Errorf("phone: %+v", ph.Messages)
	}
	p.clean(t)
}

func TestLevels(t *testing.T) {
	template := func(name string) string {
		return fmt.Sprintf(`{"messaging_product":"whatsapp","to":"+%s","type":"template","template":{"name":%q,"language":{"code":"en"}}}`, marta, name)
	}
	for _, tc := range []struct {
		name string
		user simulator.User
		body string
		code int
		last string
	}{
		{"outside the window", simulator.User{Level: simulator.LevelWindow}, textTo(marta, "x"), 131047, ""},
		{"template outside the window", simulator.User{Level: simulator.LevelWindow}, template("promo"), 0, "read"},
		{"late", simulator.User{Level: simulator.LevelWindow, LateErrors: true}, textTo(marta, "x"), 0, "failed"},
		{"marketing stopped", simulator.User{Level: simulator.LevelNoMarketing}, template("promo"), 131050, ""},
		{"utility template", simulator.User{Level: simulator.LevelNoMarketing}, template("utility_bill"), 0, "read"},
		{"blocked", simulator.User{Level: simulator.LevelBlocked}, textTo(marta, "x"), 0, "sent"},
		{"unread", simulator.User{Unread: true}, textTo(marta, "x"), 0, "delivered"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlatform(t, nil)
			tc.user.Number = marta
			if err := p.SetUser(tc.user); err != nil {
				t.Fatal(err)
			}
			l := p.dial(t, p.token(t))
			l.expect("whatsapp.session.ready")
			l.send("a", tc.body)
			res := l.result()
			code := 0
			if res.Error != nil {
				code = res.Error.Code
			}
			if code != tc.code {
				t.Fatalf("code %d, want %d", code, tc.code)
			}
			for _, s := range map[string][]string{"read": {"sent", "delivered", "read"}, "delivered": {"sent", "delivered"}, "sent": {"sent"}, "failed": {"failed"}}[tc.last] {
				l.expect("whatsapp.status." + s)
			}
			// A message to somebody else shows that nothing more comes before it.
			l.send("b", textTo("15550199999", "y"))
			if l.expect("whatsapp.result"); l.expect("whatsapp.status.sent").Subject != "15550199999" {
				t.Error("more statuses than expected")
			}
			if ph, _ := p.Phone(marta); tc.last == "sent" && len(ph.Messages) != 0 {
				t.Error("a blocked message arrived")
			}
		})
	}
}
