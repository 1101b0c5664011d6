package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// readTable reads a file of tab-separated columns with a heading.
func readTable(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows[1:]
}

func readExample(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "cloudapi", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// examples reads every file of one folder of the corpus.
func examples(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "cloudapi", folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no examples in", folder, err)
	}
	all := make(map[string][]byte, len(files))
	for _, f := range files {
		all[filepath.Base(f)] = readExample(t, folder+"/"+filepath.Base(f))
	}
	return all
}

// The whole corpus is listed in the manifest, and each of its folders below has
// a test that reads all of it.
func TestCorpusIsWhole(t *testing.T) {
	rows := readTable(t, "cloudapi/manifest.tsv")
	if len(rows) != 155 {
		t.Errorf("manifest lists %d files, want 155", len(rows))
	}
	for _, row := range rows {
		if !json.Valid(readExample(t, row[0])) {
			t.Errorf("%s is not JSON", row[0])
		}
	}
}

// testdata/webhook.tsv says what each webhook must come apart into, one part a
// line: file, kind, field, phone number id, id or status, conversation.
func TestWebhookCorpus(t *testing.T) {
	want := make(map[string][]string)
	for _, row := range readTable(t, "webhook.tsv") {
		want[row[0]] = append(want[row[0]], strings.Join(row[1:], "\t"))
	}
	for name, body := range examples(t, "webhook") {
		t.Run(name, func(t *testing.T) {
			parts, err := ParseWebhook(body)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range parts {
				got = append(got, describePart(t, body, p))
			}
			if g, w := strings.Join(got, "\n"), strings.Join(want[name], "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
		})
	}
}

// describePart writes a part as a line of testdata/webhook.tsv and checks that
// its inner objects are those of the body to the byte.
func describePart(t *testing.T, body []byte, p WebhookPart) string {
	t.Helper()
	columns := []string{"", p.Field, p.WABA, p.PhoneNumberID, "", ""}
	switch p.Kind {
	case PartMessage:
		m, err := ParseMessage(p.Data)
		if err != nil {
			t.Fatal(err)
		}
		columns[0], columns[4], columns[5] = "message", m.Type+" "+m.ID, m.Conversation
		for _, inner := range [][]byte{m.Raw, m.Contact, m.Metadata} {
			if !bytes.Contains(body, inner) {
				t.Errorf("not byte for byte: %s", inner)
			}
		}
		if m.PhoneNumberID != p.PhoneNumberID || m.Timestamp.Unix() < 1795420000 {
			t.Errorf("phone number id or time is wrong: %+v", m)
		}
	case PartStatus:
		s, err := ParseStatus(p.Data)
		if err != nil {
			t.Fatal(err)
		}
		columns[0], columns[4], columns[5] = "status", s.Status+" "+s.ID, s.Conversation
		if s.Error != nil {
			columns[4] += " " + strconv.Itoa(s.Error.Code)
		}
		if !bytes.Contains(body, s.Raw) || s.At.IsZero() {
			t.Errorf("not byte for byte, or without a time: %s", s.Raw)
		}
	case PartEvent:
		e, err := ParseFieldEvent(p.Data)
		if err != nil {
			t.Fatal(err)
		}
		columns[0], columns[4] = "event", eventMessage(t, e.Value)
		if e.Field != p.Field || !json.Valid(e.Value) {
			t.Errorf("event is %s", p.Data)
		}
		if e.Field != "history" && !bytes.Contains(body, e.Value) {
			t.Errorf("not byte for byte: %s", e.Value)
		}
	case PartPoison:
		columns[0] = "poison"
	}
	return strings.Join(columns, "\t")
}

// eventMessage is the id of the one message in an event's value, "" without.
func eventMessage(t *testing.T, value []byte) string {
	t.Helper()
	type message struct {
		ID string `json:"id"`
	}
	var v struct {
		Echoes  []message `json:"message_echoes"`
		History []struct {
			Threads []struct {
				Messages []message `json:"messages"`
			} `json:"threads"`
		} `json:"history"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		t.Fatal(err)
	}
	messages := v.Echoes
	for _, h := range v.History {
		for _, thread := range h.Threads {
			messages = append(messages, thread.Messages...)
		}
	}
	if len(messages) == 0 {
		return ""
	}
	if len(messages) > 1 {
		t.Errorf("event of %d messages", len(messages))
	}
	return messages[0].ID
}

// Every command of the corpus decodes to itself, but for the one that must not.
func TestSendCorpus(t *testing.T) {
	for name, body := range examples(t, "send") {
		t.Run(name, func(t *testing.T) {
			c, err := DecodeCommand(nil, body)
			if name == "text_over_limit_4097.json" {
				e, ok := errors.AsType[*InvalidError](err)
				if !ok || e.Path != "text.body" || e.Reason != "at most 4096 characters, has 4097" {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.TrimSpace(body)
			if name == "text_opaque_identity.json" {
				want = bytes.Replace(want, []byte(",\n  \"biz_opaque_callback_data\": \"out-9f31c2\""), nil, 1)
				if c.Callback != "out-9f31c2" {
					t.Errorf("callback is %q", c.Callback)
				}
			}
			if !bytes.Equal(c.Body, want) {
				t.Errorf("body is\n%s\nwant\n%s", c.Body, want)
			}
			if kind, _, _ := strings.Cut(name, "_"); !c.Verb && strings.TrimSuffix(kind, ".json") != c.Type {
				t.Errorf("type is %q", c.Type)
			}
			if c.Conversation == "" {
				t.Error("no conversation")
			}
			if strings.Contains(name, "link") != (c.Media != nil && c.Media.Path == c.Type) {
				t.Errorf("media is %+v", c.Media)
			}
		})
	}
}

func TestErrorCorpus(t *testing.T) {
	for _, row := range readTable(t, "cloudapi/manifest.tsv") {
		if !strings.HasPrefix(row[0], "error/") {
			continue
		}
		t.Run(row[0], func(t *testing.T) {
			raw := readExample(t, row[0])
			e, err := ParseError(raw)
			if err != nil {
				t.Fatal(err)
			}
			code, _, _ := strings.Cut(strings.Fields(row[1])[0], "/")
			if strconv.Itoa(e.Code) != code || e.Title == "" || e.Trace == "" || e.Type == "" {
				t.Errorf("got %+v", e)
			}
			status, err := strconv.Atoi(row[2])
			if err != nil {
				t.Fatal(err)
			}
			if got := Classify(e, status).Class; got == 0 || got == Unknown || got == Accepted {
				t.Errorf("class is %v", got)
			}
			// The same as the data of a whatsapp.result.
			data := append(append([]byte(`{"ref":"r","error":`), raw...), '}')
			data = bytes.Replace(data, raw, []byte(innerError(t, raw)), 1)
			r, err := ParseSendResult(data)
			if err != nil || r.Error == nil || *r.Error != *e {
				t.Errorf("as a result: %+v, %v", r.Error, err)
			}
		})
	}
}

func innerError(t *testing.T, raw []byte) string {
	t.Helper()
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(raw, &outer); err != nil {
		t.Fatal(err)
	}
	return string(outer.Error)
}

// The answers to sends are results of accepted sends, once they have their ref.
func TestResponseCorpus(t *testing.T) {
	for name, body := range examples(t, "response") {
		data := bytes.Replace(body, []byte("{"), []byte(`{"ref":"r",`), 1)
		r, err := ParseSendResult(data)
		if accepted := strings.HasPrefix(name, "send_ok"); accepted != (err == nil) || accepted != strings.HasPrefix(r.ID, "wamid.") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if _, err := ParseError(body); err == nil {
			t.Errorf("%s is an error", name)
		}
	}
}
