package codec

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

func goodFrames() []string {
	return []string{
		`{"specversion":"1.0","id":"1","source":"/s","type":"whatsapp.message.text","data":{"a": 9007199254740993}}`,
		`{"data": [1, "<\/\u00e9"] , "type":"t","source":"https://a.example/x?y","id":"\u00e9 \"","specversion":"1.0"}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"15550142233","time":"2026-11-23T12:00:00.123Z",` +
			`"sequence":"00000000000000000017","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"a=b",` +
			`"datacontenttype":"application/json","other":"x","data":"text"}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2026-11-23T13:00:00+01:00"}`,
	}
}

func badFrames() []string {
	return []string{
		``, `x`, `[]`, `{}`,
		`{"specversion":"0.2","id":"1","source":"/s","type":"t"}`,
		`{"specversion":1,"id":"1","source":"/s","type":"t"}`,
		`{"specversion":"1.0","source":"/s","type":"t"}`,
		`{"specversion":"1.0","id":"","source":"/s","type":"t"}`,
		`{"specversion":"1.0","id":"1","type":"t"}`,
		`{"specversion":"1.0","id":"1","source":"/s"}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"yesterday"}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{}`,
	}
}

// The CloudEvents SDK is the second opinion on frames.
func TestEventAgreesWithSDK(t *testing.T) {
	for _, frame := range goodFrames() {
		got, err := ParseEvent([]byte(frame))
		if err != nil {
			t.Errorf("%s: %v", frame, err)
			continue
		}
		var want event.Event
		if err := json.Unmarshal([]byte(frame), &want); err != nil || want.Validate() != nil {
			t.Fatalf("%s: the SDK says %v, %v", frame, err, want.Validate())
		}
		compareWithSDK(t, &got, &want)

		// And what we write, it reads as the same event.
		var back event.Event
		if err := json.Unmarshal(AppendEvent(nil, &got), &back); err != nil || back.Validate() != nil {
			t.Fatalf("%s: the SDK says %v, %v", AppendEvent(nil, &got), err, back.Validate())
		}
		compareWithSDK(t, &got, &back)
	}
	for _, frame := range badFrames() {
		got, err := ParseEvent([]byte(frame))
		if err == nil {
			t.Errorf("%s is %+v", frame, got)
		}
		var e event.Event
		if json.Unmarshal([]byte(frame), &e) == nil && e.Validate() == nil {
			t.Errorf("the SDK takes %s", frame)
		}
	}
	// The SDK takes these; a Chat API frame is of version 1.0 and its data is JSON.
	for _, frame := range []string{
		`{"specversion":"0.3","id":"1","source":"/s","type":"t"}`,
		`{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"e30="}`,
	} {
		if got, err := ParseEvent([]byte(frame)); err == nil {
			t.Errorf("%s is %+v", frame, got)
		}
	}
}

func compareWithSDK(t *testing.T, got *Event, want *event.Event) {
	t.Helper()
	extension := func(name string) string {
		s, _ := want.Extensions()[name].(string)
		return s
	}
	if got.ID != want.ID() || got.Source != want.Source() || got.Type != want.Type() || got.Subject != want.Subject() ||
		got.Sequence != extension("sequence") || got.TraceParent != extension("traceparent") || got.TraceState != extension("tracestate") {
		t.Errorf("got %+v, want %v", got, want)
	}
	if got.Time != "" {
		if at, err := time.Parse(time.RFC3339, got.Time); err != nil || !at.Equal(want.Time()) {
			t.Errorf("time is %s, want %s", got.Time, want.Time())
		}
	}
	if string(got.Data) != strings.TrimSpace(string(want.Data())) {
		t.Errorf("data is %s, want %s", got.Data, want.Data())
	}
}

func TestEventDataIsByteForByte(t *testing.T) {
	const data = `{ "a" : "<\/\u00e9" , "n":9007199254740993 , "a":1e400 }`
	e := Event{ID: "1", Source: "/s", Type: "t", Data: []byte(data)}
	got, err := ParseEvent(AppendEvent(nil, &e))
	if err != nil || string(got.Data) != data {
		t.Errorf("data is %s, %v", got.Data, err)
	}
}

func TestSequence(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "00000000000000000000", 17: "00000000000000000017", 1<<64 - 1: "18446744073709551615",
	} {
		s := string(AppendSequence(nil, n))
		back, err := ParseSequence(s)
		if s != want || err != nil || back != n {
			t.Errorf("%d is %s, back %d, %v", n, s, back, err)
		}
	}
	for _, s := range []string{"", "-1", "x", "18446744073709551616", " 1"} {
		if n, err := ParseSequence(s); err == nil {
			t.Errorf("%q is %d", s, n)
		}
	}
	if got := string(AppendAckData(nil, 17)); got != `{"sequence":"00000000000000000017"}` {
		t.Error(got)
	}
	if got := string(AppendTokenData(nil, `a"b`)); got != `{"access_token":"a\"b"}` {
		t.Error(got)
	}
}

// Headers are those of the NATS binding; the SDK's event has the attributes that
// they name.
func TestSetEventHeaders(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 5e8, time.FixedZone("", 3600))
	a := EventAttributes{ID: `a "b" 100% é`, Source: "/wabridge/shop", Type: "whatsapp.message.text", Subject: "US.702", Time: at}
	h := map[string][]string{"Nats-Msg-Id": {"x"}}
	SetEventHeaders(h, a)
	want := map[string][]string{
		"Nats-Msg-Id":        {"x"},
		"ce-id":              {"a%20%22b%22%20100%25%20%C3%A9"},
		"ce-source":          {"/wabridge/shop"},
		"ce-type":            {"whatsapp.message.text"},
		"ce-subject":         {"US.702"},
		"ce-time":            {"2026-11-23T11:00:00.5Z"},
		"ce-specversion":     {"1.0"},
		"ce-datacontenttype": {"application/json"},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("headers are %q", h)
	}
	e := event.New(h["ce-specversion"][0])
	e.SetID(decodePercent(h["ce-id"][0]))
	e.SetSource(decodePercent(h["ce-source"][0]))
	e.SetType(decodePercent(h["ce-type"][0]))
	e.SetSubject(decodePercent(h["ce-subject"][0]))
	stamp, err := time.Parse(time.RFC3339, h["ce-time"][0])
	if err != nil {
		t.Fatal(err)
	}
	e.SetTime(stamp)
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	if e.ID() != a.ID || !e.Time().Equal(at) {
		t.Errorf("the SDK reads %v", e)
	}

	// The values are set apart: appending to one leaves the next alone.
	h["ce-id"] = append(h["ce-id"], "x")
	if h["ce-source"][0] != "/wabridge/shop" {
		t.Error("values share their array")
	}
	SetEventHeaders(h, EventAttributes{ID: "1", Source: "/s", Type: "t"})
	if h["ce-id"][0] != "1" {
		t.Error("header was not replaced")
	}
}

func TestReady(t *testing.T) {
	got, err := ParseReady([]byte(`{"session":"s","epoch":"e","scopes":["a","b"],"window":64,"phone_number_id":"1","display_phone_number":"2","x":{}}`))
	want := Ready{Session: "s", Epoch: "e", Scopes: []string{"a", "b"}, Window: 64, PhoneNumberID: "1", DisplayPhoneNumber: "2"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, data := range []string{
		`[]`, `{}`, `{"session":"s","epoch":"e"}`, `{"session":"s","epoch":"e","window":0}`, `{"session":"s","epoch":1,"window":1}`,
		`{"session":"s","epoch":"e","window":1,"scopes":"a"}`, `{"session":"s","epoch":"e","window":1,"scopes":[1]}`,
	} {
		if got, err := ParseReady([]byte(data)); err == nil {
			t.Errorf("%s is %+v", data, got)
		}
	}
}

func resultExamples() []string {
	return []string{
		`{"ref":"r","messages":[{"id":"wamid.1"}],"duplicate":true}`,
		`{"ref":"r","error":{"code":131056,"message":"m"},"retry_after":1.5}`,
		`{"ref":"\u00e9","error":null,"messages":[{"id":"wamid.1"},{"id":"2"}],"retry_after":1e300}`,
		`{"ref":"r","messages":[],"duplicate":false}`,
		`{"ref":"r"}`, `{"ref":"r","messages":[{}]}`, `{"ref":"r","error":{}}`, `{"messages":[{"id":"wamid.1"}]}`, `{"ref":"r","messages":{}}`,
	}
}

func TestSendResult(t *testing.T) {
	want := []SendResult{
		{Ref: "r", ID: "wamid.1", Duplicate: true},
		{Ref: "r", Error: &Error{Code: 131056, Title: "m", Message: "m"}, RetryAfter: 1500 * time.Millisecond},
		{Ref: "é", ID: "wamid.1", RetryAfter: 24 * time.Hour},
		{Ref: "r"},
	}
	for i, data := range resultExamples() {
		got, err := ParseSendResult([]byte(data))
		if i >= len(want) {
			if err == nil {
				t.Errorf("%s is %+v", data, got)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%s is %+v, %v", data, got, err)
		}
	}
}

func TestCallback(t *testing.T) {
	const tp = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	c := Callback{TraceParent: tp, Sequence: 17, Ref: "a;b 100%é", Value: "mine;and;more%3B"}
	s, err := c.Encode()
	if want := "wab1;" + tp + ";17;a%3Bb%20100%25é;mine;and;more%3B"; err != nil || s != want {
		t.Errorf("got %q, %v", s, err)
	}
	if back, ok := ParseCallback(s); !ok || back != c {
		t.Errorf("got %+v, %v", back, ok)
	}
	for _, s := range []string{"", "out-9f31c2", "wab1", "wab1;;;;", "wab1;;1;r", "wab1;;-1;r;", "wab2;;1;r;"} {
		if got, ok := ParseCallback(s); ok {
			t.Errorf("%q is %+v", s, got)
		}
	}
	// The longest ref that there can be leaves room for itself.
	c = Callback{TraceParent: tp, Sequence: 1<<64 - 1, Ref: strings.Repeat(";", 128)}
	if _, err := c.Encode(); err != nil {
		t.Error(err)
	}
	c = Callback{TraceParent: tp, Sequence: 17, Ref: "r", Value: strings.Repeat("é", 512-66)}
	if s, err := c.Encode(); err != nil || len([]rune(s)) != 512 {
		t.Errorf("%d characters, %v", len([]rune(s)), err)
	}
	c.Value += "é"
	if _, err := c.Encode(); err == nil || err.Error() != "biz_opaque_callback_data: at most 446 characters beside what the bridge adds to it, has 447" {
		t.Error(err)
	}
	c = Callback{TraceParent: "a;b", Ref: "r"}
	if s, err := c.Encode(); err != nil || s != "wab1;;0;r;" {
		t.Errorf("got %q, %v", s, err)
	}
}
