package codec

import (
	"fmt"
	"strings"
	"testing"
)

// hook wraps changes of one entry.
func hook(changes ...string) string {
	return `{"object":"whatsapp_business_account","entry":[{"id":"77","time":1795430000,"changes":[` + strings.Join(changes, ",") + `]}]}`
}

func change(field, value string) string { return `{"field":"` + field + `","value":` + value + `}` }

const metadata = `"metadata":{"phone_number_id":"88"}`

// webhookCases are webhooks and what must come of them: kind and data a part.
func webhookCases() map[string]struct {
	body string
	want []string
} {
	type one = struct {
		body string
		want []string
	}
	return map[string]one{
		"contacts by number, by user id, and none": {
			hook(change("messages", `{`+metadata+`,"contacts":[{"wa_id":"1","n":1},{"user_id":"US.2", "n":2},{"user_id":"US.3"}],"messages":[`+
				`{"id":"a","from_user_id":"US.2"},{"id":"b","from":"1"},{"id":"c","from":"US.3"},{"id":"d","from":"9"},{"id":"e"}]}`)),
			[]string{
				`1 {"message":{"id":"a","from_user_id":"US.2"},"contact":{"user_id":"US.2", "n":2},` + metadata + `}`,
				`1 {"message":{"id":"b","from":"1"},"contact":{"wa_id":"1","n":1},` + metadata + `}`,
				`1 {"message":{"id":"c","from":"US.3"},"contact":{"user_id":"US.3"},` + metadata + `}`,
				`1 {"message":{"id":"d","from":"9"},` + metadata + `}`,
				`1 {"message":{"id":"e"},` + metadata + `}`,
			},
		},
		"the only contact": {
			hook(change("messages", `{`+metadata+`,"contacts":[{"wa_id":"5511"}],"messages":[{"id":"a","from":"55911"}]}`)),
			[]string{`1 {"message":{"id":"a","from":"55911"},"contact":{"wa_id":"5511"},` + metadata + `}`},
		},
		"poison beside good ones": {
			hook(change("messages", `{`+metadata+`,"messages":[1,{"id":5},{"id":"a"}],"statuses":[{"id":"x"},{"id":"x","status":"read"}]}`), `7`,
				change("", `{}`), `{"field":"messages"}`, change("messages", `5`), change("messages", `{"messages":{}}`), change("flows", `5`)),
			[]string{
				`4 1`, `4 {"id":5}`, `1 {"message":{"id":"a"},` + metadata + `}`, `4 {"id":"x"}`, `2 {"id":"x","status":"read"}`,
				`4 7`, `4 {"field":"","value":{}}`, `4 {"field":"messages"}`, `4 5`, `4 {}`, `3 {"field":"flows","value":5}`,
			},
		},
		"poison entries": {
			`{"object":"whatsapp_business_account","entry":[5,{},{"id":"1","changes":{}},{"id":"2","changes":[]}]}`,
			[]string{`4 5`, `4 {}`, `4 {"id":"1","changes":{}}`},
		},
		"another kind of object": {`{"object":"page","entry":[]}`, []string{`4 {"object":"page","entry":[]}`}},
		"errors beside messages": {
			hook(change("messages", `{`+metadata+`, "messages":[{"id":"a"}],"errors":[{"code":1}] }`)),
			[]string{`1 {"message":{"id":"a"},` + metadata + `}`, `3 {"field":"errors","value":{` + metadata + `,"errors":[{"code":1}] }}`},
		},
		"unknown members": {
			hook(change("messages", `{`+metadata+`,"messages":[{"id":"a"}],"new":1}`), change("messages", `{`+metadata+`}`)),
			[]string{
				`1 {"message":{"id":"a"},` + metadata + `}`, `3 {"field":"messages","value":{` + metadata + `,"new":1}}`,
				`3 {"field":"messages","value":{` + metadata + `}}`,
			},
		},
		"calls hold statuses, histories messages": {
			hook(change("calls", `{`+metadata+`,"statuses":[{"id":"x","status":"RINGING"}]}`),
				change("history", `{`+metadata+`,"messages":[{"id":"a"} , {"id":"b"}]}`),
				change("history", `{"history":[{"errors":[{"code":2593109}]}]}`),
				change("history", `{"history":[],"messages":[]}`)),
			[]string{
				`3 {"field":"calls","value":{` + metadata + `,"statuses":[{"id":"x","status":"RINGING"}]}}`,
				`3 {"field":"history","value":{` + metadata + `,"messages":[{"id":"a"}]}}`,
				`3 {"field":"history","value":{` + metadata + `,"messages":[{"id":"b"}]}}`,
				`3 {"field":"history","value":{"history":[{"errors":[{"code":2593109}]}]}}`,
				`3 {"field":"history","value":{"history":[],"messages":[]}}`,
			},
		},
		"history": {
			hook(change("history", `{ "a":1,"history":[{"metadata":{"phase":0},"threads":[{"id":"t","messages":[{"id":"a"},{"id":"b"}],"x":2},`+
				`{"messages":[]}]},{"metadata":{"phase":1}}]}`)),
			[]string{
				`3 {"field":"history","value":{ "a":1,"history":[{"metadata":{"phase":0},"threads":[{"id":"t","messages":[{"id":"a"}],"x":2}]}]}}`,
				`3 {"field":"history","value":{ "a":1,"history":[{"metadata":{"phase":0},"threads":[{"id":"t","messages":[{"id":"b"}],"x":2}]}]}}`,
				`3 {"field":"history","value":{ "a":1,"history":[{"metadata":{"phase":0},"threads":[{"messages":[]}]}]}}`,
				`3 {"field":"history","value":{ "a":1,"history":[{"metadata":{"phase":1}}]}}`,
			},
		},
		"echoes": {
			hook(change("smb_message_echoes", `{"message_echoes":[{"id":"a"},5]}`)),
			[]string{
				`3 {"field":"smb_message_echoes","value":{"message_echoes":[{"id":"a"}]}}`,
				`3 {"field":"smb_message_echoes","value":{"message_echoes":[5]}}`,
			},
		},
		"one status for each participant": {
			hook(change("messages", `{"statuses":[{"id":"x","status":"read","recipient_participant_id":"1"},{"id":"x","status":"read","recipient_participant_id":"2"}]}`)),
			[]string{
				`2 {"id":"x","status":"read","recipient_participant_id":"1"}`,
				`2 {"id":"x","status":"read","recipient_participant_id":"2"}`,
			},
		},
	}
}

func webhookExamples() []string {
	var bodies []string
	for _, c := range webhookCases() {
		bodies = append(bodies, c.body)
	}
	return bodies
}

func TestParseWebhook(t *testing.T) {
	for name, c := range webhookCases() {
		t.Run(name, func(t *testing.T) {
			parts, err := ParseWebhook([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range parts {
				checkPart(t, &p)
				got = append(got, fmt.Sprintf("%d %s", p.Kind, p.Data))
			}
			if g, w := strings.Join(got, "\n"), strings.Join(c.want, "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
		})
	}
}

func TestParseWebhookRefusesEnvelopes(t *testing.T) {
	for _, body := range []string{``, `x`, `[]`, `{}`, `{"object":"whatsapp_business_account","entry":{}}`} {
		if parts, err := ParseWebhook([]byte(body)); err == nil {
			t.Errorf("%s is %+v", body, parts)
		}
	}
}

func TestParseWebhookRoutes(t *testing.T) {
	parts, err := ParseWebhook([]byte(hook(change("messages", `{`+metadata+`,"messages":[{"id":"a"}]}`), change("flows", `{}`))))
	if err != nil || len(parts) != 2 {
		t.Fatal(parts, err)
	}
	if p := parts[0]; p.WABA != "77" || p.PhoneNumberID != "88" || p.EntryTime != 1795430000 || p.Field != "messages" {
		t.Errorf("got %+v", p)
	}
	if p := parts[1]; p.WABA != "77" || p.PhoneNumberID != "" || p.Field != "flows" {
		t.Errorf("got %+v", p)
	}
}

// A history of thousands comes apart, but not where each event would repeat more
// than it tells.
func TestParseWebhookOfThousands(t *testing.T) {
	list := strings.TrimSuffix(strings.Repeat(`{"id":"a","type":"text"},`, 5000), ",")
	value := func(rest string) string {
		return `{` + rest + `"history":[{"threads":[{"id":"t","messages":[` + list + `]}]}]}`
	}
	for rest, want := range map[string]int{
		"": 5000,
		`"x":"` + strings.Repeat("x", 100<<10) + `",`: 1,
	} {
		parts, err := ParseWebhook([]byte(hook(change("history", value(rest)))))
		if err != nil || len(parts) != want {
			t.Errorf("%d parts, want %d, %v", len(parts), want, err)
		}
	}
}
