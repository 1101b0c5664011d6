package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParseFrame(f *testing.F) {
	head := `{"specversion":"1.0","id":"a","source":"/wabridge/demo","type":"whatsapp.`
	for _, s := range []string{
		head + `send","data":{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"hi"}}}`,
		head + `send","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","time":"2026-11-23T12:00:00Z","data":{}}`,
		head + `ack","data":{"sequence":"00000000000000000007"}}`, head + `token","data":{"access_token":"x"}}`,
		`{"\u0069d":"x"}`, `[]`, `{`, `{"a":[1,2.5e-3,{"b":null}],"c":"\ud83d\ude00"}`, `{"data":01}`, "{\"data\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("took what is not JSON: %q", b)
		}
		if fr.id == "" || fr.kind == "" || !json.Valid(fr.data) {
			t.Fatalf("took %q as %+v", b, fr)
		}
		if n, err := ackSequence(fr.data); err == nil && !bytes.Contains(fr.data, fmt.Appendf(nil, "%020d", n)) && !bytes.ContainsRune(fr.data, '\\') {
			t.Fatalf("read ack %d in %q", n, fr.data)
		}
	})
}

func FuzzParseBody(f *testing.F) {
	for _, s := range []string{
		`{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"hi"}}`,
		`{"messaging_product":"whatsapp","recipient":"US.123","type":"image","image":{"id":"1","caption":"c"}}`,
		`{"messaging_product":"whatsapp","to":"+15550142233","type":"interactive","interactive":{"type":"list","body":{"text":"b"},"action":{"button":"b","sections":[{"rows":[{"id":"1","title":"t"}]}]}}}`,
		`{"messaging_product":"whatsapp","to":"+15550142233","type":"template","template":{"name":"n","language":{"code":"en"}}}`,
		`{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x","typing_indicator":{"type":"text"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body, bad := parseBody(b)
		if bad != nil {
			if out := bad.append(nil, "x"); !json.Valid(out) {
				t.Fatalf("the error is not JSON: %s", out)
			}
			return
		}
		if !json.Valid(b) || (!body.verb() && body.number == "") {
			t.Fatalf("took %q as %+v", b, body)
		}
	})
}

// FuzzWrite checks that what a user writes comes out as JSON, its content intact.
func FuzzWrite(f *testing.F) {
	f.Add([]byte(`{"session":"demo","text":"hello"}`))
	f.Add([]byte(`{"session":"demo","type":"image","image":{"id":"1"},"context":{"id":"wamid.x"}}`))
	f.Add([]byte(`{"session":"demo","text":"yes","reply_to":"wamid.\ud83d","referral":{"a" : 1}}`))
	s, err := New(Config{Sessions: []SessionConfig{{ID: "demo"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := s.Write("15550142233", b); err != nil {
			return
		}
		p, _ := s.Phone("15550142233")
		m := p.Messages[len(p.Messages)-1]
		if !json.Valid(m.Body) {
			t.Fatalf("%q became %q", b, m.Body)
		}
		if escaped := metaEscape(m.Body); utf8.Valid(b) && !sameJSON(t, m.Body, escaped) {
			t.Fatalf("%q was escaped to %q", m.Body, escaped)
		}
	})
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, err1 := json.Marshal(x)
	q, err2 := json.Marshal(y)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return bytes.Equal(p, q)
}

func TestBodiesAreHeldToTheCloudAPI(t *testing.T) {
	to := `"messaging_product":"whatsapp","to":"+15550142233",`
	button := func(titles ...string) string {
		var list []string
		for i, title := range titles {
			list = append(list, fmt.Sprintf(`{"type":"reply","reply":{"id":"%d","title":%q}}`, i, title))
		}
		return `{` + to + `"type":"interactive","interactive":{"type":"button","body":{"text":"b"},"action":{"buttons":[` + strings.Join(list, ",") + `]}}}`
	}
	rows := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"id":"%d","title":"t"}`, i))
		}
		return `{` + to + `"type":"interactive","interactive":{"type":"list","body":{"text":"b"},"action":{"button":"b","sections":[{"rows":[` + strings.Join(list, ",") + `]}]}}}`
	}
	for _, tc := range []struct {
		name, body string
		code       int
	}{
		{"text", `{` + to + `"text":{"body":"x"}}`, 0},
		{"longest text", `{` + to + `"text":{"body":"` + strings.Repeat("é", 4096) + `"}}`, 0},
		{"text too long", `{` + to + `"text":{"body":"` + strings.Repeat("é", 4097) + `"}}`, 100},
		{"empty text", `{` + to + `"text":{"body":""}}`, 131008},
		{"text as a string", `{` + to + `"text":"x"}`, 100},
		{"no product", `{"to":"+15550142233","text":{"body":"x"}}`, 100},
		{"no recipient", `{"messaging_product":"whatsapp","text":{"body":"x"}}`, 100},
		{"recipient without plus", `{"messaging_product":"whatsapp","to":"15550142233","text":{"body":"x"}}`, 131009},
		{"recipient of letters", `{"messaging_product":"whatsapp","to":"+1abc","text":{"body":"x"}}`, 131009},
		{"BSUID", `{"messaging_product":"whatsapp","recipient":"US.13491208655302741918","text":{"body":"x"}}`, 0},
		{"group", `{"messaging_product":"whatsapp","recipient_type":"group","to":"Y2FwaQ==","text":{"body":"x"}}`, 0},
		{"two contents", `{` + to + `"type":"text","text":{"body":"x"},"image":{"id":"1"}}`, 100},
		{"no content", `{` + to + `"type":"image"}`, 131008},
		{"unknown type", `{` + to + `"type":"poll","poll":{}}`, 131051},
		{"long callback", `{` + to + `"biz_opaque_callback_data":"` + strings.Repeat("x", 513) + `","text":{"body":"x"}}`, 100},
		{"empty context", `{` + to + `"context":{},"text":{"body":"x"}}`, 131009},
		{"id and link", `{` + to + `"type":"image","image":{"id":"1","link":"https://x/y"}}`, 131009},
		{"neither", `{` + to + `"type":"image","image":{}}`, 131009},
		{"link to a file", `{` + to + `"type":"image","image":{"link":"file:///etc/passwd"}}`, 131009},
		{"caption on audio", `{` + to + `"type":"audio","audio":{"id":"1","caption":"c"}}`, 100},
		{"location", `{` + to + `"type":"location","location":{"latitude":52.5,"longitude":"13.4"}}`, 0},
		{"nowhere", `{` + to + `"type":"location","location":{"latitude":91,"longitude":0}}`, 131009},
		{"half a location", `{` + to + `"type":"location","location":{"latitude":1}}`, 131008},
		{"contact without a name", `{` + to + `"type":"contacts","contacts":[{"phones":[]}]}`, 131008},
		{"reaction", `{` + to + `"type":"reaction","reaction":{"message_id":"wamid.x","emoji":""}}`, 0},
		{"reaction to nothing", `{` + to + `"type":"reaction","reaction":{"emoji":"x"}}`, 131008},
		{"three buttons", button("a", "b", "c"), 0},
		{"four buttons", button("a", "b", "c", "d"), 131009},
		{"same title", button("a", "a"), 131009},
		{"long title", button(strings.Repeat("x", 21)), 131009},
		{"ten rows", rows(10), 0},
		{"eleven rows", rows(11), 131009},
		{"template", `{` + to + `"type":"template","template":{"name":"n","language":{"code":"en"},"components":[{"type":"button","sub_type":"url","index":0}]}}`, 0},
		{"template without language", `{` + to + `"type":"template","template":{"name":"n"}}`, 131008},
		{"read", `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`, 0},
		{"read nothing", `{"messaging_product":"whatsapp","status":"read"}`, 131008},
		{"unread", `{"messaging_product":"whatsapp","status":"unread","message_id":"wamid.x"}`, 100},
		{"not an object", `[]`, 100},
		{"nested too deep", `{` + to + `"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, bad := parseBody([]byte(tc.body))
			code := 0
			if bad != nil {
				code = bad.Code
			}
			if code != tc.code {
				t.Errorf("code %d, want %d (%+v)", code, tc.code, bad)
			}
		})
	}
}

func TestTraceParent(t *testing.T) {
	good := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for s, want := range map[string]bool{
		good: true, good + "-x": false, "cc" + good[2:] + "-x": true, "ff" + good[2:]: false, strings.ToUpper(good): false, "": false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		strings.Replace(good, "-", "_", 1): false,
	} {
		if validTraceParent(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
