package codec

import (
	"reflect"
	"strings"
	"testing"
)

// goodCommand is a command and what must be sent; "" for the very same.
type goodCommand struct{ name, in, out, kind, conversation string }

func goodCommands() []goodCommand {
	const to = `{"messaging_product":"whatsapp","to":"+15550142233",`
	return []goodCommand{
		{
			"everything left out", `{"to":"15550142233","text":"hi"}`,
			`{"messaging_product":"whatsapp","type":"text","to":"+15550142233","text":{"body":"hi"}}`, "text", "15550142233",
		},
		{
			"number as people write it", `{"messaging_product":"whatsapp","to":"(+1) 555-014 2233","type":"text","text":{"body":"hi"}}`,
			to + `"type":"text","text":{"body":"hi"}}`, "text", "15550142233",
		},
		{
			"white space, escapes and unknown members stay",
			"\n" + to + ` "type" : "text","text":{"body":"a\/\u00e9<"  , "new":[ 9007199254740993 ]}, "other":1e400 }` + "\n",
			to + ` "type" : "text","text":{"body":"a\/\u00e9<"  , "new":[ 9007199254740993 ]}, "other":1e400 }`, "text", "15550142233",
		},
		{
			"callback first", `{"biz_opaque_callback_data":"x", ` + to[1:] + `"type":"text","text":{"body":"hi"}}`,
			to + `"type":"text","text":{"body":"hi"}}`, "text", "15550142233",
		},
		{
			"callback first and product left out", `{"biz_opaque_callback_data":"x","to":"+15550142233","text":"a"}`,
			`{"messaging_product":"whatsapp","type":"text","to":"+15550142233","text":{"body":"a"}}`, "text", "15550142233",
		},
		{
			"callback last", to + `"type":"text","text":{"body":"hi"} , "biz_opaque_callback_data" : "x" }`,
			to + `"type":"text","text":{"body":"hi"}  }`, "text", "15550142233",
		},
		{"user id", `{"messaging_product":"whatsapp","recipient":"US.ENT.702","type":"text","text":{"body":"hi"}}`, "", "text", "US.ENT.702"},
		{"to wins over recipient", to + `"recipient":"US.702","type":"text","text":{"body":"hi"}}`, "", "text", "15550142233"},
		{"group", `{"messaging_product":"whatsapp","recipient_type":"group","to":"Y2Fw=","type":"text","text":{"body":"hi"}}`, "", "text", "Y2Fw="},
		{
			"escaped names", `{"messaging_product":"whatsapp","t\u006f":"\u002b15550142233","type":"t\u0065xt","te\u0078t":{"b\u006fdy":"hi"}}`,
			`{"messaging_product":"whatsapp","t\u006f":"+15550142233","type":"t\u0065xt","te\u0078t":{"b\u006fdy":"hi"}}`,
			"text", "15550142233",
		},
		{
			"4096 characters", to + `"type":"text","text":{"body":"` + strings.Repeat(`\ud83d\ude00`, 2048) + strings.Repeat("é", 2048) + `"}}`,
			"", "text", "15550142233",
		},
		{
			"read", `{"status":"read","message_id":"wamid.1"}`,
			`{"messaging_product":"whatsapp","status":"read","message_id":"wamid.1"}`, TypeRead, "wamid.1",
		},
		{
			"typing", `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.1","typing_indicator":{"type":"text"}}`,
			"", TypeTyping, "wamid.1",
		},
		{"object", to + `"type":"image","image":{"caption":"c","object":"pictures/1"}}`, "", "image", "15550142233"},
		{"location as text", to + `"type":"location","location":{"latitude":"51.5","longitude":-0.1}}`, "", "location", "15550142233"},
		{"carousel", to + `"type":"interactive","interactive":{"type":"carousel","body":{"text":"b"},"action":{"cards":[` +
			`{"card_index":0,"type":"cta_url","header":{"type":"image","image":{"link":"https://a.example/1"}},"body":{"text":"x"},` +
			`"action":{"name":"cta_url","parameters":{"display_text":"go","url":"https://a.example"}}},` +
			`{"card_index":1,"header":{"type":"video","video":{"object":"v"}},` +
			`"action":{"buttons":[{"type":"quick_reply","quick_reply":{"id":"1","title":"t"}}]}}]}}}`, "", "interactive", "15550142233"},
		{"template carousel", to + `"type":"template","template":{"name":"n","language":{"code":"en"},"components":[{"type":"carousel",` +
			`"cards":[{"card_index":0,"components":[{"type":"HEADER","parameters":[{"type":"image","image":{"link":"https://a.example/1"}}]},` +
			`{"type":"BUTTON","sub_type":"url","index":0,"parameters":[{"type":"payload","payload":"p"}]}]}]}]}}`, "", "template", "15550142233"},
		{"address", to + `"type":"interactive","interactive":{"type":"address_message","body":{"text":"b"},"action":{"name":"address_message",` +
			`"parameters":{"country":"IN"}}}}`, "", "interactive", "15550142233"},
		{"contact request", to + `"type":"interactive","interactive":{"type":"contact_request","body":{"text":"b"},` +
			`"action":{"name":"request_contact_info"}}}`, "", "interactive", "15550142233"},
		{"call permission", to + `"type":"interactive","interactive":{"type":"call_permission_request",` +
			`"action":{"name":"call_permission_request"}}}`, "", "interactive", "15550142233"},
		{
			"many members", to + `"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"type":"text","text":{"body":"hi"}}`,
			"", "text", "15550142233",
		},
		{"parameters of every type", to + `"type":"template","template":{"name":"n","language":{"code":"en"},"components":[{"type":"body","parameters":[` +
			`{"type":"date_time","date_time":{"fallback_value":"f"}},{"type":"action","action":{}},{"type":"coupon_code","coupon_code":"c"},` +
			`{"type":"document","document":{"id":"1"}},{"type":"video","video":{"object":"v"}},{"type":"new","new":1}]}]}}`, "", "template", "15550142233"},
		{"order status", to + `"type":"interactive","interactive":{"type":"order_status","body":{"text":"b"},` +
			`"action":{"name":"review_order","parameters":{"reference_id":"1"}}}}`, "", "interactive", "15550142233"},
		{"product carousel", to + `"type":"interactive","interactive":{"type":"carousel","body":{"text":"b"},"action":{"cards":[` +
			`{"card_index":0,"type":"product","action":{"product_retailer_id":"1","catalog_id":"2"}}]}}}`, "", "interactive", "15550142233"},
		{"order", to + `"type":"interactive","interactive":{"type":"order_details","body":{"text":"b"},` +
			`"action":{"name":"review_and_pay","parameters":{"reference_id":"1"}}}}`, "", "interactive", "15550142233"},
	}
}

func TestDecodeCommandNormalises(t *testing.T) {
	for _, c := range goodCommands() {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeCommand(nil, []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			want := c.out
			if want == "" {
				want = c.in
			}
			if string(got.Body) != want {
				t.Errorf("body is\n%s\nwant\n%s", got.Body, want)
			}
			if got.Type != c.kind || got.Conversation != c.conversation || got.Verb != (c.kind == TypeRead || c.kind == TypeTyping) {
				t.Errorf("got %+v", got)
			}
			checkCallback(t, got)
			checkMedia(t, got)
		})
	}
}

// An error never holds what the command holds.
func TestInvalidErrorQuotesNothing(t *testing.T) {
	const secret = "s3cret5550142233"
	for _, in := range []string{
		`{"to":"` + secret + `","text":"hi"}`,
		`{"to":"+15550142233","type":"` + secret + `"}`,
		`{"to":"+15550142233","` + secret + `":{"` + secret + `":1,"` + secret + `":2},"text":"hi"}`,
		`{"recipient":"` + secret + `","text":"hi"}`,
		`{"to":"+15550142233","image":{"link":"` + secret + `"}}`,
		`{"to":"+15550142233","text":{"body":"` + secret,
		`{"to":"+15550142233","interactive":{"type":"` + secret + `"}}`,
	} {
		_, err := DecodeCommand(nil, []byte(in))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestDecodeCommandModes(t *testing.T) {
	const body = `{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"hi"}}`
	event := func(rest string) string {
		return `{"specversion":"1.0","id":"e 1","source":"/s","type":"t",` + rest + `}`
	}
	structured := map[string][]string{"CONTENT-type": {"Application/CloudEvents+JSON; charset=utf-8"}}
	binary := map[string][]string{
		"Ce-Specversion": {"1.0"}, "CE-ID": {"e%201"}, "ce-source": {"/s"}, "ce-type": {"t"}, "Ce-Traceparent": {"tp"}, "ce-tracestate": {"a%3Db"},
	}
	for _, c := range []struct {
		name   string
		header map[string][]string
		in     string
		want   Command
	}{
		{"plain", map[string][]string{"TraceParent": {"tp"}, "tracestate": {"ts"}}, body, Command{TraceParent: "tp", TraceState: "ts"}},
		{"binary", binary, body, Command{EventID: "e 1", TraceParent: "tp", TraceState: "a=b"}},
		{
			"structured", structured, event(`"traceparent":"tp","tracestate":"ts","data": ` + body + ` `),
			Command{EventID: "e 1", TraceParent: "tp", TraceState: "ts"},
		},
		{
			"structured, base64", structured, event(`"data_base64":"eyJtZXNzYWdpbmdfcHJvZHVjdCI6IndoYXRzYXBwIiwidG8iOiIrMTU1NTAxNDIyMzMiLCJ0eXBlIjoidGV4dCIsInRleHQiOnsiYm9keSI6ImhpIn19"`),
			Command{EventID: "e 1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := DecodeCommand(c.header, []byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			c.want.Type, c.want.Conversation, c.want.Body = "text", "15550142233", []byte(body)
			if !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
	for _, c := range []struct {
		header map[string][]string
		in     string
		want   string
	}{
		{structured, `[]`, "must be a CloudEvent in JSON: not a JSON object"},
		{structured, event(`"x":1`), "data: is missing"},
		{structured, event(`"data":{},"data_base64":""`), "needs one of data and data_base64, has both"},
		{structured, event(`"data":{},"data":{}`), "has an object with the same member twice, at byte 0"},
		{structured, event(`"data_base64":"?"`), "data_base64: must be base64"},
		{structured, `{"specversion":"0.3"}`, "specversion: must be 1.0"},
		{structured, `{"specversion":"1.0","source":"/s","type":"t","data":{}}`, "id: is missing"},
		{map[string][]string{"ce-specversion": {"2"}}, body, "ce-specversion: must be 1.0"},
		{map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-type": {"t"}}, body, "ce-source: is missing"},
		{
			map[string][]string{"Content-Type": {"application/cloudevents-batch+json"}},
			`[]`,
			"Content-Type: must not be a batch: send each event as a message of its own",
		},
	} {
		if _, err := DecodeCommand(c.header, []byte(c.in)); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.in, err, c.want)
		}
	}
}

func TestReplaceMedia(t *testing.T) {
	c, err := DecodeCommand(nil, []byte(`{"to":"15550142233","interactive":{"action":{"cards":[`+
		`{"header":{"type":"image","image":{"link":"https://a.example/1" , "x":1}}},{"header":{"image":{ "object":"o" },"type":"image"}}]},`+
		`"type":"carousel","body":{"text":"b"},"header":{"type":"document","document":{"filename":"f","object":"d"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range c.MediaRefs {
		paths = append(paths, r.Path+" "+r.Kind+" "+r.Object+r.Link)
	}
	if want := []string{
		"interactive.action.cards[0].header.image image https://a.example/1",
		"interactive.action.cards[1].header.image image o",
		"interactive.header.document document d",
	}; !reflect.DeepEqual(paths, want) {
		t.Errorf("got %q", paths)
	}
	if c.Media != &c.MediaRefs[0] {
		t.Error("Media is not the first of MediaRefs")
	}
	got := ReplaceMedia(c.Body, c.MediaRefs, []string{"11", "", "33"})
	want := strings.NewReplacer(`"link":"https://a.example/1"`, `"id":"11"`, `"object":"d"`, `"id":"33"`).Replace(string(c.Body))
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
