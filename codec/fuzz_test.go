package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// addAll seeds a fuzz target with every file of the corpus.
func addAll(f *testing.F, folders ...string) {
	f.Helper()
	for _, folder := range folders {
		for _, text := range examples(f, folder) {
			f.Add(text)
		}
	}
}

// valid fails where what the package wrote is no JSON.
func valid(t *testing.T, what string, text []byte) {
	t.Helper()
	if !json.Valid(text) {
		t.Fatalf("%s is not JSON: %q", what, text)
	}
}

func FuzzJSONScanner(f *testing.F) {
	addAll(f, "webhook", "send", "response", "error")
	for _, text := range scannerCases() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := index(text, 2, nil)
		if (err == nil) != json.Valid(text) {
			t.Fatalf("index says %v, encoding/json %v of %q", err, json.Valid(text), text)
		}
		if err == nil {
			compareWithJSON(t, &d, text)
		}
	})
}

// compareWithJSON checks members and strings against encoding/json's reading.
func compareWithJSON(t *testing.T, d *doc, text []byte) {
	t.Helper()
	if d.kind(0) == kindString {
		var want string
		if err := json.Unmarshal(text, &want); err != nil || d.str(0) != want || utf8.Valid(text) && !d.is(0, want) {
			t.Fatalf("string is %q, want %q (%v)", d.str(0), want, err)
		}
		if d.length(0) != utf8.RuneCountInString(want) {
			t.Fatalf("length is %d of %q", d.length(0), want)
		}
	}
	if d.kind(0) != kindObject {
		return
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError) {
			continue // encoding/json has replaced what was there
		}
		c := d.get(0, name)
		if c == 0 || !bytes.Equal(d.raw(c), value) {
			t.Fatalf("member %q of %q is not %q", name, text, value)
		}
	}
	if d.size(0) < len(want) {
		t.Fatalf("%d members, want %d", d.size(0), len(want))
	}
}

func FuzzCloudEventParse(f *testing.F) {
	for _, frame := range goodFrames() {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		e, err := ParseEvent(frame)
		if err != nil {
			return
		}
		if e.Data != nil {
			valid(t, "data", e.Data)
		}
		out := AppendEvent(nil, &e)
		valid(t, "frame", out)
		back, err := ParseEvent(out)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%q came back as %+v, %v", out, back, err)
		}
	})
}

func FuzzMessageData(f *testing.F) {
	for _, body := range examples(f, "webhook") {
		parts, err := ParseWebhook(body)
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range parts {
			f.Add(p.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMessage(data)
		if err != nil {
			return
		}
		out := AppendMessage(nil, m.Raw, m.Contact, m.Metadata)
		valid(t, "data", out)
		back, err := ParseMessage(out)
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%q came back as %+v, %v", out, back, err)
		}
	})
}

func FuzzStatusData(f *testing.F) {
	for _, raw := range statusExamples(f) {
		f.Add(raw, "mine")
	}
	f.Add([]byte(`{"biz_opaque_callback_data":"a","id":"i","biz_opaque_callback_data":"b","status":"s","biz_opaque_callback_data":1}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, value string) {
		s, err := ParseStatus(raw)
		if err != nil {
			return
		}
		value = strings.ToValidUTF8(value, "")
		before := bytes.Clone(raw)
		out := s.WithCallback(value)
		valid(t, "status", out)
		back, err := ParseStatus(out)
		if err != nil || back.Callback != value {
			t.Fatalf("%q has callback %q, want %q (%v)", out, back.Callback, value, err)
		}
		back.Callback, back.Raw = s.Callback, s.Raw
		if !reflect.DeepEqual(back, s) {
			t.Fatalf("%+v became %+v", s, back)
		}
		if !bytes.Equal(raw, before) {
			t.Fatal("the input was changed")
		}
	})
}

func FuzzSendResult(f *testing.F) {
	addAll(f, "response", "error")
	for _, text := range resultExamples() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseSendResult(data)
		if err != nil {
			return
		}
		if r.Ref == "" || r.RetryAfter < 0 || r.RetryAfter > maxRetryAfter {
			t.Fatalf("%+v", r)
		}
		if r.ID != "" || r.Error != nil {
			return
		}
		// encoding/json folds the case of names where a struct is read, and a map keeps it.
		var members map[string]json.RawMessage
		var messages []any
		if json.Unmarshal(data, &members) != nil || json.Unmarshal(members["messages"], &messages) != nil || len(messages) != 0 {
			t.Fatalf("%+v without an empty list of messages", r)
		}
	})
}

func FuzzError(f *testing.F) {
	addAll(f, "error")
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseError(raw)
		if err != nil {
			return
		}
		for _, status := range []int{0, 200, 400, 401, 403, 429, 500} {
			if r := Classify(e, status); r.Class.String() == "" || r.Scope.String() == "" || r.Class == Accepted {
				t.Fatalf("%+v is %+v", e, r)
			}
		}
	})
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"ref":"r","id":"i","to":"t","status":"failed","rank":9,"at":"2026-11-23T12:00:00Z","attempts":1,` +
		`"error":{"class":"throttled","code":131056,"title":"a","detail":"b"},"raw":{"a": 1}}`))
	f.Add([]byte(`{"status":"\u00e9","at":"2026-11-23T12:00:00.5+02:00"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseReport(body)
		if err != nil || r.At.UTC().Year() < 1 || r.At.UTC().Year() > 9999 {
			return
		}
		out := r.Append(nil)
		valid(t, "report", out)
		back, err := ParseReport(out)
		if err != nil || !back.At.Equal(r.At) {
			t.Fatalf("%q came back as %+v, %v", out, back, err)
		}
		if back.At = r.At; !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v became %+v", r, back)
		}
	})
}

func FuzzCallback(f *testing.F) {
	f.Add("wab1;00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01;17;order-1;mine;and;more")
	f.Add("wab1;;0;%3B%25%20;")
	f.Add("wab2;;0;;")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseCallback(s)
		if !ok {
			c = Callback{TraceParent: "tp", Sequence: uint64(len(s)), Ref: s, Value: s}
		}
		out, err := c.Encode()
		if err != nil {
			if e, ok := errors.AsType[*InvalidError](err); !ok || e.Path == "" {
				t.Fatalf("error is %#v", err)
			}
			return
		}
		if utf8.RuneCountInString(out) > maxCallbackData {
			t.Fatalf("too long: %q", out)
		}
		if back, ok := ParseCallback(out); !ok || utf8.ValidString(s) && back != c {
			t.Fatalf("%+v came back as %+v, %v", c, back, ok)
		}
	})
}

func FuzzWebhook(f *testing.F) {
	addAll(f, "webhook")
	for _, text := range webhookExamples() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		parts, err := ParseWebhook(body)
		if err != nil {
			return
		}
		for _, p := range parts {
			checkPart(t, &p)
		}
	})
}

func checkPart(t *testing.T, p *WebhookPart) {
	t.Helper()
	valid(t, "part", p.Data)
	if (p.Kind == PartPoison) != (p.Err != nil) {
		t.Fatalf("%+v", p)
	}
	switch p.Kind {
	case PartMessage:
		m, err := ParseMessage(p.Data)
		if err != nil || m.PhoneNumberID != p.PhoneNumberID {
			t.Fatalf("%q: %+v, %v", p.Data, m, err)
		}
	case PartStatus:
		if _, err := ParseStatus(p.Data); err != nil {
			t.Fatalf("%q: %v", p.Data, err)
		}
	case PartEvent:
		e, err := ParseFieldEvent(p.Data)
		if err != nil || e.Field != p.Field || e.Value == nil {
			t.Fatalf("%q: %+v, %v", p.Data, e, err)
		}
		back, err := ParseFieldEvent(AppendFieldEvent(nil, e.Field, e.Value))
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%+v came back as %+v, %v", e, back, err)
		}
	case PartPoison:
	default:
		t.Fatalf("kind %d", p.Kind)
	}
}

func FuzzFieldEvent(f *testing.F) {
	f.Add([]byte(`{"field":"flows","value":{ "a" : "<\/" }}`))
	f.Add([]byte(`{"value":1,"field":"\u00e9"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ParseFieldEvent(data)
		if err != nil {
			return
		}
		out := AppendFieldEvent(nil, e.Field, e.Value)
		valid(t, "event", out)
		if back, err := ParseFieldEvent(out); err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%+v came back as %+v, %v", e, back, err)
		}
	})
}

func FuzzReady(f *testing.F) {
	f.Add([]byte(`{"session":"s","epoch":"e","scopes":["a","b"],"window":64,"phone_number_id":"1","display_phone_number":"2"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseReady(data)
		if err == nil && (r.Session == "" || r.Epoch == "" || r.Window < 1) {
			t.Fatalf("%+v", r)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("", "")
	f.Add("a b\"%é", "%41%zz%")
	f.Fuzz(func(t *testing.T, value, encoded string) {
		h := map[string][]string{}
		SetEventHeaders(h, EventAttributes{ID: value, Source: "s", Type: "t", Subject: value, Time: time.Unix(1, 0)})
		for i := range len(h["ce-id"][0]) {
			if c := h["ce-id"][0][i]; c <= ' ' || c > '~' || c == '"' {
				t.Fatalf("%q in a header", h["ce-id"][0])
			}
		}
		if back := decodePercent(h["ce-id"][0]); utf8.ValidString(value) && back != value {
			t.Fatalf("%q came back as %q", value, back)
		}
		if d := decodePercent(encoded); utf8.ValidString(encoded) && !utf8.ValidString(d) {
			t.Fatalf("%q decodes to no UTF-8", encoded)
		}
		_, _ = Deadline(map[string][]string{HeaderDeadline: {value}}) // must not panic
		if ref, err := Ref(map[string][]string{HeaderRef: {value}}, "WA_SEND", time.Unix(1, 0), 2); err == nil {
			if ref == "" || utf8.RuneCountInString(ref) > maxRef {
				t.Fatalf("ref is %q", ref)
			}
		}
	})
}
