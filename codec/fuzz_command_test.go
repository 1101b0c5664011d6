package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func FuzzCommandDecode(f *testing.F) {
	for _, text := range examples(f, "send") {
		f.Add(text, "", "")
		f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"t","data":`+string(text)+`}`), cloudEventsJSON, "")
		f.Add(text, "application/json; charset=utf-8", "1.0")
	}
	for _, c := range goodCommands() {
		f.Add([]byte(c.in), "", "")
	}
	for _, c := range badCommands() {
		f.Add([]byte(c.in), "", "")
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType, version string) {
		header := map[string][]string{
			"content-type": {contentType}, "ce-specversion": {version},
			"ce-id": {"1"}, "ce-source": {"/s"}, "ce-type": {"t"},
		}
		before := bytes.Clone(body)
		c, err := DecodeCommand(header, body)
		if !bytes.Equal(body, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if e, ok := errors.AsType[*InvalidError](err); !ok || e.Reason == "" || c != nil {
				t.Fatalf("error is %#v", err)
			}
			return
		}
		valid(t, "body", c.Body)
		again, err := DecodeCommand(nil, c.Body)
		if err != nil {
			t.Fatalf("body %q does not decode again: %v", c.Body, err)
		}
		if !bytes.Equal(again.Body, c.Body) || again.Type != c.Type || again.Conversation != c.Conversation ||
			again.Verb != c.Verb || again.Callback != "" {
			t.Fatalf("normalised twice: %q, once: %q", again.Body, c.Body)
		}
		if mediaType(header) != cloudEventsJSON {
			checkMeaning(t, c, body)
		}
		checkCallback(t, c)
		checkMedia(t, c)
	})
}

// checkMeaning compares a body with the command that it was made of, both as
// encoding/json reads them.
func checkMeaning(t *testing.T, c *Command, command []byte) {
	t.Helper()
	want, got := readObject(t, command), readObject(t, c.Body)
	want["messaging_product"] = "whatsapp"
	delete(want, callbackMember)
	if !c.Verb {
		want["type"] = c.Type
		if s, ok := want["text"].(string); ok {
			want["text"] = map[string]any{"body": s}
		}
		if want["to"] != nil && want["recipient_type"] != "group" {
			want["to"] = "+" + c.Conversation
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q became %q", command, c.Body)
	}
}

func readObject(t *testing.T, text []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v map[string]any
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func checkCallback(t *testing.T, c *Command) {
	t.Helper()
	const value = `wab1;"\` + "\n" + `é`
	sent := c.AppendBody(nil, value)
	valid(t, "sent body", sent)
	back, err := DecodeCommand(nil, sent)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Body, c.Body) || !c.Verb && back.Callback != value || c.Verb && back.Callback != "" {
		t.Fatalf("%q came back as %q, %q", sent, back.Callback, back.Body)
	}
}

func checkMedia(t *testing.T, c *Command) {
	t.Helper()
	if len(c.MediaRefs) == 0 {
		if c.Media != nil {
			t.Fatal("first media of none")
		}
		return
	}
	sent := c.AppendBody(nil, "wab1;")
	if refs := FindMedia(sent); !reflect.DeepEqual(refs, c.MediaRefs) {
		t.Fatalf("offsets do not hold in what is sent: %+v, %+v", refs, c.MediaRefs)
	}
	ids := make([]string, len(c.MediaRefs))
	for i := range ids {
		ids[i] = "1"
	}
	back, err := DecodeCommand(nil, ReplaceMedia(sent, c.MediaRefs, ids))
	if err != nil || len(back.MediaRefs) != 0 {
		t.Fatalf("media replaced: %v, still %+v", err, back)
	}
	if none := ReplaceMedia(sent, c.MediaRefs, nil); !bytes.Equal(none, sent) {
		t.Fatalf("replaced without ids: %q", none)
	}
}

// FindMedia takes bodies that nobody checked, too.
func FuzzFindMedia(f *testing.F) {
	addAll(f, "send")
	for _, c := range goodCommands() {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		refs := FindMedia(body)
		ids := make([]string, len(refs))
		for i, r := range refs {
			ids[i] = "1"
			if !strings.HasPrefix(string(body[r.Start:r.End]), `"`) {
				t.Fatalf("%+v", r)
			}
		}
		if len(refs) > 0 {
			valid(t, "body", ReplaceMedia(body, refs, ids))
		}
	})
}
