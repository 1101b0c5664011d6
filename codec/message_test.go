package codec

import (
	"reflect"
	"testing"
	"time"
)

func TestParseMessage(t *testing.T) {
	const raw = `{"from":"15550142233", "id":"wamid.1","timestamp":"1795430000","type":"image",` +
		`"image":{"id":"5","url":"https://a.example","mime_type":"image/jpeg","sha256":"aa=","filename":"f"},"n":9007199254740993 }`
	const contact, metadata = `{"wa_id" : "15550142233"}`, `{"phone_number_id":"88\/0"}`
	data := AppendMessage(nil, []byte(raw), []byte(contact), []byte(metadata))
	if want := `{"message":` + raw + `,"contact":` + contact + `,"metadata":` + metadata + `}`; string(data) != want {
		t.Errorf("data is %s", data)
	}
	got, err := ParseMessage(data)
	want := Message{
		ID: "wamid.1", Type: "image", Conversation: "15550142233", Timestamp: time.Unix(1795430000, 0).UTC(), PhoneNumberID: "88/0",
		Media: &InboundMedia{Kind: "image", ID: "5", URL: "https://a.example", MIME: "image/jpeg", SHA256: "aa=", Filename: "f"},
		Raw:   []byte(raw), Contact: []byte(contact), Metadata: []byte(metadata),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := string(AppendMessage(nil, []byte(raw), nil, nil)); got != `{"message":`+raw+`}` {
		t.Error(got)
	}
	for _, data := range []string{``, `[]`, `{}`, `{"message":1}`, `{"message":{}}`, `{"message":{"id":5}}`, `{"message":{"id":""}}`} {
		if got, err := ParseMessage([]byte(data)); err == nil {
			t.Errorf("%s is %+v", data, got)
		}
	}
}

func TestMessageConversation(t *testing.T) {
	for members, want := range map[string]string{
		`"group_id":"g","from":"1555014","from_user_id":"US.1"`: "g",
		`"from":"15550142233","from_user_id":"US.1"`:            "15550142233",
		`"from":"+1 555 014-2233"`:                              "15550142233",
		`"from":"US.702"`:                                       "US.702",
		`"from_user_id":"US.702"`:                               "US.702",
		`"x":1`:                                                 "",
	} {
		m, err := ParseMessage([]byte(`{"message":{"id":"1",` + members + `}}`))
		if err != nil || m.Conversation != want || m.Type != "unknown" || m.Contact != nil {
			t.Errorf("%s: %+v, %v", members, m, err)
		}
	}
}

func statusExamples(t testing.TB) [][]byte {
	t.Helper()
	examples := [][]byte{
		[]byte(`{"id":"wamid.1","status":"sent","timestamp":"1795430000","recipient_id":"15550142233","biz_opaque_callback_data":"wab1;;1;r;"}`),
		[]byte(`{ "biz_opaque_callback_data" : "a" , "id":"wamid.1","status":"failed","errors":[{"code":131047,"title":"t"}] }`),
		[]byte(`{"id":"wamid.1","status":"read","timestamp":1795430000123,"recipient_type":"group","recipient_id":"g=",` +
			`"recipient_participant_id":"15550142233","recipient_participant_user_id":"US.1"}`),
		[]byte(`{"id":"wamid.1","status":"delivered","recipient_user_id":"US.702","recipient_participant_user_id":"US.1","errors":[{}]}`),
	}
	return examples
}

func TestParseStatus(t *testing.T) {
	at := time.Unix(1795430000, 0).UTC()
	want := []Status{
		{ID: "wamid.1", Status: "sent", Recipient: "15550142233", Conversation: "15550142233", At: at, Callback: "wab1;;1;r;"},
		{ID: "wamid.1", Status: "failed", Callback: "a", Error: &Error{Code: 131047, Title: "t"}},
		{ID: "wamid.1", Status: "read", Recipient: "g=", Conversation: "g=", Participant: "15550142233", At: at.Add(123 * time.Millisecond)},
		{ID: "wamid.1", Status: "delivered", Recipient: "US.702", Conversation: "US.702", Participant: "US.1"},
	}
	for i, raw := range statusExamples(t) {
		want[i].Raw = raw
		if got, err := ParseStatus(raw); err != nil || !reflect.DeepEqual(got, want[i]) {
			t.Errorf("%s is\n%+v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{``, `[]`, `{}`, `{"id":"1"}`, `{"status":"sent"}`, `{"id":1,"status":"sent"}`} {
		if got, err := ParseStatus([]byte(raw)); err == nil {
			t.Errorf("%s is %+v", raw, got)
		}
	}
}

func TestStatusWithCallback(t *testing.T) {
	for _, c := range []struct{ raw, value, want string }{
		{`{"id":"1","status":"s"}`, "", `{"id":"1","status":"s"}`},
		{`{"id":"1","status":"s" }`, `a"b`, `{"id":"1","status":"s" ,"biz_opaque_callback_data":"a\"b"}`},
		{`{"id":"1" , "biz_opaque_callback_data" : "x" , "status":"s"}`, "", `{"id":"1"  , "status":"s"}`},
		{`{"id":"1" , "biz_opaque_callback_data" : "x" , "status":"s"}`, "y", `{"id":"1" , "biz_opaque_callback_data" : "y" , "status":"s"}`},
		{`{"biz_opaque_callback_data":"x","id":"1","status":"s"}`, "", `{"id":"1","status":"s"}`},
		{`{"id":"1","status":"s","biz_opaque_callback_data":"x"}`, "", `{"id":"1","status":"s"}`},
		{
			`{"biz_opaque_callback_data":"x","biz_opaque_callback_data":"y","id":"1","biz_opaque_callback_data":1,"biz_opaque_callback_data":2,"status":"s"}`,
			"", `{"id":"1","status":"s"}`,
		},
		{`{"biz_opaque_callback_data":"x","id":"1","biz_opaque_callback_data":1,"status":"s"}`, "z", `{"biz_opaque_callback_data":"z","id":"1","status":"s"}`},
	} {
		s, err := ParseStatus([]byte(c.raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(s.WithCallback(c.value)); got != c.want {
			t.Errorf("%s with %q is\n%s, want\n%s", c.raw, c.value, got, c.want)
		}
		if string(s.Raw) != c.raw {
			t.Errorf("raw became %s", s.Raw)
		}
	}
}

func TestRank(t *testing.T) {
	for word, want := range map[string]int{
		"accepted": 1, "sent": 2, "delivered": 3, "read": 4, "played": 5,
		"rejected": 9, "expired": 9, "unknown": 9, "failed": 9, "deleted": 0, "": 0,
	} {
		if got := Rank(word); got != want {
			t.Errorf("%q ranks %d, want %d", word, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	at := time.Date(2026, 11, 23, 13, 0, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		r    Report
		want string
	}{
		{Report{Status: "expired", At: at}, `{"status":"expired","rank":9,"at":"2026-11-23T12:00:00Z"}`},
		{
			Report{
				Ref: "order-1234", ID: "wamid.1", To: "15550142233", Status: "delivered", At: at, Attempts: 1,
				Error: &ReportError{Class: Throttled, Code: 131056, Title: `a"`, Detail: "é"}, Raw: []byte(`{ "a" : 9007199254740993}`),
			},
			`{"ref":"order-1234","id":"wamid.1","to":"15550142233","status":"delivered","rank":3,"at":"2026-11-23T12:00:00Z",` +
				`"attempts":1,"error":{"class":"throttled","code":131056,"title":"a\"","detail":"é"},"raw":{ "a" : 9007199254740993}}`,
		},
		{
			Report{Status: "rejected", At: at, Error: &ReportError{Class: Invalid, Title: "t"}},
			`{"status":"rejected","rank":9,"at":"2026-11-23T12:00:00Z","error":{"class":"invalid","title":"t"}}`,
		},
	} {
		got := c.r.Append(nil)
		if string(got) != c.want {
			t.Errorf("got\n%s, want\n%s", got, c.want)
		}
		back, err := ParseReport(got)
		if c.r.At = c.r.At.UTC(); err != nil || !reflect.DeepEqual(back, c.r) {
			t.Errorf("%s came back as %+v, %v", got, back, err)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"status":"sent"}`, `{"status":"sent","at":"now"}`, `{"at":"2026-11-23T12:00:00Z"}`} {
		if got, err := ParseReport([]byte(body)); err == nil {
			t.Errorf("%s is %+v", body, got)
		}
	}
}

func TestFieldEvent(t *testing.T) {
	const value = `{ "a" : "<\/" }`
	data := AppendFieldEvent(nil, `a"b`, []byte(value))
	if string(data) != `{"field":"a\"b","value":`+value+`}` {
		t.Errorf("data is %s", data)
	}
	if e, err := ParseFieldEvent(data); err != nil || e.Field != `a"b` || string(e.Value) != value {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, data := range []string{``, `[]`, `{}`, `{"field":1}`} {
		if e, err := ParseFieldEvent([]byte(data)); err == nil {
			t.Errorf("%s is %+v", data, e)
		}
	}
}
