package inbound_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

func TestMessage(t *testing.T) {
	in := &bridge.Inbound{
		Kind: bridge.KindMessage, Data: []byte(message), Epoch: "e1", Sequence: 7,
		TraceParent: parent, TraceState: "vendor=1",
	}
	r := one(t, in)
	if r.Subject != "wa.recv.shop" || string(r.Body) != message {
		t.Errorf("got %s %s", r.Subject, r.Body)
	}
	check(t, r, map[string]string{
		"Nats-Msg-Id": "shop:" + wamid, "Wa-Epoch": "e1", "Wa-Sequence": "7",
		"ce-id": "shop:" + wamid, "ce-source": "/wabridge/shop", "ce-type": "whatsapp.message.text",
		"ce-subject": "15550142233", "ce-specversion": "1.0", "ce-datacontenttype": "application/json",
		"tracestate": "vendor=1",
	})
	at, err := time.Parse(time.RFC3339Nano, r.Header["ce-time"][0])
	if err != nil || at.Unix() != 1795430000 {
		t.Errorf("ce-time %v, %v", r.Header["ce-time"], err)
	}
	if got := r.Header["traceparent"]; len(got) != 1 || !strings.Contains(got[0], traceID) {
		t.Errorf("traceparent: got %v, want the trace id of the platform's", got)
	}
}

func TestMessageTypesAndIDs(t *testing.T) {
	long := strings.Repeat("x", 300)
	hashed := func(id string) string {
		sum := sha256.Sum256([]byte(id))
		return "shop:sha256-" + hex.EncodeToString(sum[:])
	}
	for name, tt := range map[string]struct{ id, kind, wantID, wantType string }{
		"unknown type":        {"wamid.1", "hologram", "shop:wamid.1", "whatsapp.message.hologram"},
		"odd type":            {"wamid.1", "a b.c*>é", "shop:wamid.1", "whatsapp.message.a_b_c____"},
		"long type":           {"wamid.1", long, "shop:wamid.1", "whatsapp.message." + long[:64]},
		"id with a line feed": {"a\nNats-Rollup: all", "text", hashed("a\nNats-Rollup: all"), "whatsapp.message.text"},
		"id with a space":     {"a b", "text", hashed("a b"), "whatsapp.message.text"},
		"long id":             {long, "text", hashed(long), "whatsapp.message.text"},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"message":{"from":"15550142233","id":` + quote(tt.id) + `,"timestamp":"1795430000","type":` + quote(tt.kind) + `}}`
			r := one(t, &bridge.Inbound{Kind: bridge.KindMessage, Data: []byte(body)})
			check(t, r, map[string]string{
				"Nats-Msg-Id": tt.wantID, "ce-type": tt.wantType, "Wa-Epoch": "", "Wa-Sequence": "",
			})
			if string(r.Body) != body {
				t.Errorf("got body %s", r.Body)
			}
		})
	}
}

// ours is a status of one of our commands.
func ours(t testing.TB, ref, own string) []byte {
	t.Helper()
	callback, err := codec.Callback{TraceParent: parent, Sequence: 42, Ref: ref, Value: own}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.TrimSuffix(statusOf, "}") + `,"biz_opaque_callback_data":` + quote(callback) + "}")
}

func TestStatusOfOurs(t *testing.T) {
	r := one(t, &bridge.Inbound{Kind: bridge.KindStatus, Data: ours(t, "order-1234", "my own"), Epoch: "e1", Sequence: 8})
	if r.Subject != "wa.status.shop" {
		t.Errorf("got subject %s", r.Subject)
	}
	check(t, r, map[string]string{
		"Nats-Msg-Id": "shop:" + wamid + ":delivered", "Wa-Ref": "order-1234", "Wa-Command": "42",
		"ce-type": "whatsapp.status.delivered", "ce-subject": "15550142233", "Wa-Epoch": "e1", "Wa-Sequence": "8",
	})
	got, err := codec.ParseReport(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got.Ref != "order-1234" || got.ID != wamid || got.To != "15550142233" || got.Status != "delivered" || got.At.Unix() != 1795430005 || got.Error != nil {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(string(r.Body), `"rank":3`) || !strings.Contains(string(got.Raw), `"biz_opaque_callback_data":"my own"`) {
		t.Errorf("got body %s", r.Body)
	}
}

func TestStatusWithoutCallbackOfTheUsersOwn(t *testing.T) {
	r := one(t, &bridge.Inbound{Kind: bridge.KindStatus, Data: ours(t, "order-1234", "")})
	if strings.Contains(string(r.Body), "biz_opaque_callback_data") {
		t.Errorf("got body %s, want no trace of ours", r.Body)
	}
}

func TestRefThatFitsNoHeader(t *testing.T) {
	for _, ref := range []string{"café", " padded"} {
		r := one(t, &bridge.Inbound{Kind: bridge.KindStatus, Data: ours(t, ref, "")})
		check(t, r, map[string]string{"Wa-Ref": "", "Wa-Command": "42"})
		if got, err := codec.ParseReport(r.Body); err != nil || got.Ref != ref {
			t.Errorf("got ref %q, %v; want %q", got.Ref, err, ref)
		}
	}
}

func TestStatusOfAnother(t *testing.T) {
	raw := strings.TrimSuffix(statusOf, "}") + ` , "biz_opaque_callback_data":"theirs"}`
	r := one(t, &bridge.Inbound{Kind: bridge.KindStatus, Data: []byte(raw)})
	check(t, r, map[string]string{"Wa-Ref": "", "Wa-Command": "", "Nats-Msg-Id": "shop:" + wamid + ":delivered"})
	got, err := codec.ParseReport(r.Body)
	if err != nil || got.Ref != "" || string(got.Raw) != raw {
		t.Errorf("got %+v with raw %s, %v; want raw as it came", got, got.Raw, err)
	}
}

func TestFailedStatus(t *testing.T) {
	raw := `{"id":"` + wamid + `","status":"failed","timestamp":"1795430005","recipient_id":"15550142233","errors":[{"code":131047,"title":"Re-engagement message","message":"Re-engagement message","error_data":{"details":"More than 24 hours have passed"}}]}`
	r := one(t, &bridge.Inbound{Kind: bridge.KindStatus, Data: []byte(raw)})
	got, err := codec.ParseReport(r.Body)
	if err != nil || got.Error == nil {
		t.Fatalf("got %+v, %v; want an error", got, err)
	}
	if got.Error.Class != codec.Permanent || got.Error.Code != 131047 || got.Error.Title == "" || !strings.Contains(got.Error.Detail, "24 hours") {
		t.Errorf("got %+v", got.Error)
	}
}

func TestStatusesOfAGroupDiffer(t *testing.T) {
	of := func(participant string) string {
		raw := strings.TrimSuffix(statusOf, "}") + `,"recipient_type":"group","recipient_participant_id":"` + participant + `"}`
		return one(t, &bridge.Inbound{Kind: bridge.KindStatus, Data: []byte(raw)}).Header["Nats-Msg-Id"][0]
	}
	if a, b := of("15550142233"), of("15550142244"); a == b || !strings.HasPrefix(a, "shop:"+wamid+":delivered:") {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestEvent(t *testing.T) {
	data := `{"field":"account_alerts","value":{"entity_id": 9007199254740993}}`
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	in := func(data string, at time.Time) *bridge.Inbound {
		return &bridge.Inbound{Kind: bridge.KindEvent, Data: []byte(data), Time: at}
	}
	r := one(t, in(data, at))
	if r.Subject != "wa.event.shop" || string(r.Body) != data {
		t.Errorf("got %s %s", r.Subject, r.Body)
	}
	check(t, r, map[string]string{
		"ce-type": "whatsapp.event.account_alerts", "ce-subject": "", "ce-time": "2026-11-23T12:00:00Z",
	})
	id := r.Header["Nats-Msg-Id"][0]
	if !strings.HasPrefix(id, "shop:event:") {
		t.Errorf("got id %q", id)
	}
	if again := one(t, in(data, at)).Header["Nats-Msg-Id"][0]; again != id {
		t.Errorf("the same event has ids %q and %q", id, again)
	}
	for name, other := range map[string]*bridge.Inbound{
		"another time":  in(data, at.Add(time.Second)),
		"another value": in(strings.Replace(data, "993", "994", 1), at),
		"another field": in(strings.Replace(data, "alerts", "update", 1), at),
	} {
		if got := one(t, other).Header["Nats-Msg-Id"][0]; got == id {
			t.Errorf("%s: got the same id", name)
		}
	}
}

func TestDeadLetters(t *testing.T) {
	for name, tt := range map[string]struct {
		in     bridge.Inbound
		reason string
	}{
		"poison":               {bridge.Inbound{Kind: bridge.KindPoison, Data: []byte("\x00\xff<html>"), Reason: "not JSON"}, "not JSON"},
		"poison without words": {bridge.Inbound{Kind: bridge.KindPoison, Data: []byte("x")}, "unreadable"},
		"empty poison":         {bridge.Inbound{Kind: bridge.KindPoison, Reason: "empty frame"}, "empty frame"},
		"reason on two lines":  {bridge.Inbound{Kind: bridge.KindPoison, Data: []byte("x"), Reason: "a\r\nNats-Rollup: all"}, "a  Nats-Rollup: all"},
		"message":              {bridge.Inbound{Kind: bridge.KindMessage, Data: []byte(`{"message":`)}, "*"},
		"status":               {bridge.Inbound{Kind: bridge.KindStatus, Data: []byte(`[]`)}, "*"},
		"event":                {bridge.Inbound{Kind: bridge.KindEvent, Data: []byte(`{"value":1}`)}, "*"},
		"unknown kind":         {bridge.Inbound{Kind: 77, Data: []byte(`{}`)}, "unknown kind 77"},
		"message in an epoch":  {bridge.Inbound{Kind: bridge.KindMessage, Data: []byte(`1`), Epoch: "e1", Sequence: 3}, "*"},
	} {
		t.Run(name, func(t *testing.T) {
			r := one(t, &tt.in)
			if r.Subject != "wa.dead.shop" || string(r.Body) != string(tt.in.Data) {
				t.Errorf("got %s %q", r.Subject, r.Body)
			}
			sum := sha256.Sum256(tt.in.Data)
			check(t, r, map[string]string{
				"Wa-Dead-Class": "invalid", "Wa-Dead-Sha256": hex.EncodeToString(sum[:]), "ce-type": "",
			})
			if tt.in.Sequence > 0 {
				check(t, r, map[string]string{"Wa-Epoch": "e1", "Wa-Sequence": "3"})
			}
			got := r.Header["Wa-Dead-Reason"]
			if len(got) != 1 || got[0] == "" || tt.reason != "*" && got[0] != tt.reason {
				t.Errorf("got reason %q, want %q", got, tt.reason)
			}
			if id := r.Header["Nats-Msg-Id"]; len(id) != 1 || !strings.HasPrefix(id[0], "shop:dead:") {
				t.Errorf("got id %q", id)
			}
		})
	}
}

func TestDeadLetterOfABeginning(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	in := bridge.Inbound{Kind: bridge.KindPoison, Data: make([]byte, 1024), Reason: "frame of 64 MiB", Size: 64 << 20, SHA256: sum}
	r := one(t, &in)
	check(t, r, map[string]string{"Wa-Dead-Size": "67108864", "Wa-Dead-Sha256": sum})
	other := in
	other.SHA256 = strings.Repeat("cd", 32)
	if one(t, &other).Header["Nats-Msg-Id"][0] == r.Header["Nats-Msg-Id"][0] {
		t.Error("two frames that begin alike have one id")
	}
}
