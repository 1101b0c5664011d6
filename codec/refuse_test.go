package codec

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// badCommand is a command with one fault.
type badCommand struct{ in, path, reason string }

func badCommands() []badCommand {
	message := func(content string) string { return `{"to":"+15550142233",` + content + `}` }
	interactive := func(rest string) string { return message(`"interactive":{"body":{"text":"b"},` + rest + `}`) }
	buttons := func(n int, title string) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"type":"reply","reply":{"id":"%d","title":"%s%d"}}`, i, title, i))
		}
		return interactive(`"type":"button","action":{"buttons":[` + strings.Join(list, ",") + `]}`)
	}
	rows := func(n int) string {
		return strings.TrimSuffix(strings.Repeat(`{"id":"1","title":"t"},`, n), ",")
	}
	flow := func(rest string) string {
		return interactive(`"type":"flow","action":{"name":"flow","parameters":{"flow_message_version":"3","flow_cta":"a",` + rest + `}}`)
	}
	component := func(c string) string {
		return message(`"template":{"name":"n","language":{"code":"en"},"components":[` + c + `]}`)
	}
	parameter := func(p string) string { return component(`{"type":"body","parameters":[` + p + `]}`) }
	// many is an object of 18 members, the last of them called name.
	many := func(name string) string {
		var members []string
		for i := range 17 {
			members = append(members, fmt.Sprintf(`"x%d":1`, i))
		}
		return `{` + strings.Join(members, ",") + `,"` + name + `":1}`
	}
	long := func(n int) string { return strings.Repeat("é", n) }
	return []badCommand{
		{`hello`, "", "must be a JSON object: not JSON: wrong at byte 0"},
		{`[1]`, "", "must be a JSON object: not a JSON object"},
		{"{\"to\":\"\xff\"}", "", "must be UTF-8"},
		{`{}`, "to", "is missing: name a phone number or a group in to, or a user in recipient"},
		{`{"text":"hi"}`, "to", "is missing: name a phone number or a group in to, or a user in recipient"},
		{`{"to":15550142233,"text":"hi"}`, "to", "must be a string"},
		{`{"to":"","text":"hi"}`, "to", "must be a phone number of 5 to 15 digits"},
		{`{"to":"0155501422","text":"hi"}`, "to", "must begin with the country code, not with 0"},
		{`{"to":"1234567890123456","text":"hi"}`, "to", "must be a phone number of 5 to 15 digits"},
		{`{"to":"555.014.2233","text":"hi"}`, "to", ""},
		{`{"to":"US.702","text":"hi"}`, "to", ""},
		{`{"to":"a b","recipient_type":"group","text":"hi"}`, "to", "must be a group id: printable characters without spaces, at most 256"},
		{`{"recipient":"x","text":"hi"}`, "recipient", ""},
		{`{"to":"+15550142233","recipient_type":"all","text":"hi"}`, "recipient_type", "must be individual or group"},
		{message(`"messaging_product":"sms","text":"hi"`), "messaging_product", "must be whatsapp, or left out"},
		{message(`"text":"hi","text":"ho"`), "", "has an object with the same member twice, at byte 0"},
		{message(`"text":{"body":"hi","b\u006fdy":"ho"}`), "", "has an object with the same member twice, at byte 28"},
		{message(`"text":"hi","image":{"id":"1"}`), "", "has more than one content object: send each as a command of its own"},
		{message(`"type":"text","image":{"id":"1"}`), "type", "is text, but the content is image"},
		{message(`"type":"text"`), "text", "is missing"},
		{message(`"type":"poll","text":"hi"`), "type", ""},
		{message(`"x":1`), "", "has no content: needs an object such as text or template"},
		{message(`"context":{},"text":"hi"`), "context.message_id", "is missing"},
		{message(`"biz_opaque_callback_data":1,"text":"hi"`), "biz_opaque_callback_data", "must be a string"},
		{message(`"biz_opaque_callback_data":"` + long(513) + `","text":"hi"`), "biz_opaque_callback_data", "at most 512 characters, has 513"},
		{message(`"text":""`), "text", "must not be empty"},
		{message(`"text":"` + long(4097) + `"`), "text", "at most 4096 characters, has 4097"},
		{message(`"text":{"body":"` + strings.Repeat(`\ud83d\ude00`, 4097) + `"}`), "text.body", "at most 4096 characters, has 4097"},
		{message(`"text":{"preview_url":true}`), "text.body", "is missing"},
		{message(`"text":{"body":"a","preview_url":"yes"}`), "text.preview_url", "must be true or false"},
		{message(`"text":null`), "text", "must be an object"},
		{message(`"image":{}`), "image", "needs exactly one of id, link and object, has 0"},
		{message(`"image":{"id":"1","object":"2"}`), "image", "needs exactly one of id, link and object, has 2"},
		{message(`"image":{"id":1}`), "image.id", "must be a string"},
		{message(`"image":{"link":"ftp://a.example"}`), "image.link", "must be an http or https address"},
		{message(`"image":{"id":"1","caption":"` + long(1025) + `"}`), "image.caption", "at most 1024 characters, has 1025"},
		{message(`"audio":{"id":"1","caption":"c"}`), "audio.caption", "is not possible with this type: leave it out"},
		{message(`"location":{"latitude":91,"longitude":0}`), "location.latitude", "must be a number from -90 to 90"},
		{message(`"location":{"latitude":9}`), "location.longitude", "is missing"},
		{message(`"contacts":[]`), "contacts", "must not be empty"},
		{message(`"contacts":[` + strings.Repeat(`1,`, 257) + `1]`), "contacts", "at most 257 contacts, has 258"},
		{message(`"contacts":[{"name":{}}]`), "contacts[0].name.formatted_name", "is missing"},
		{message(`"contacts":[{"name":{"formatted_name":"n"},"phones":[1]}]`), "contacts[0].phones[0]", "must be an object"},
		{message(`"contacts":[{"name":{"formatted_name":"n"},"birthday":"1/2/90"}]`), "contacts[0].birthday", "must be a date, YYYY-MM-DD"},
		{message(`"reaction":{"message_id":"wamid.1"}`), "reaction.emoji", "is missing"},
		{interactive(`"type":"poll","action":{}`), "interactive.type", ""},
		{buttons(4, "t"), "interactive.action.buttons", "at most 3 elements, has 4"},
		{buttons(0, "t"), "interactive.action.buttons", "must not be empty"},
		{buttons(1, long(20)), "interactive.action.buttons[0].reply.title", "at most 20 characters, has 21"},
		{interactive(`"type":"button","action":{"buttons":[{"type":"reply","reply":{"id":"1","title":"t"}},` +
			`{"type":"reply","reply":{"id":"2","title":"t"}}]}`), "interactive.action.buttons[1].reply.title", "must differ from those of the other buttons"},
		{
			interactive(`"type":"button","action":{"buttons":[{"type":"reply","reply":{"id":"` + long(257) + `","title":"t"}}]}`),
			"interactive.action.buttons[0].reply.id", "at most 256 characters, has 257",
		},
		{interactive(`"type":"button","footer":{"text":"` + long(61) + `"},"action":{"buttons":[]}`), "interactive.footer.text", "at most 60 characters, has 61"},
		{interactive(`"type":"button","header":{"type":"text","text":"` + long(61) + `"},"action":{}`), "interactive.header.text", "at most 60 characters, has 61"},
		{interactive(`"type":"button","header":{"type":"image","image":{}},"action":{}`), "interactive.header.image", "needs exactly one of id, link and object, has 0"},
		{message(`"interactive":{"type":"button","body":{"text":"` + long(1025) + `"}}`), "interactive.body.text", "at most 1024 characters, has 1025"},
		{message(`"interactive":{"type":"button"}`), "interactive.body", "is missing"},
		{message(`"interactive":{"type":"list","body":{"text":"` + long(4097) + `"}}`), "interactive.body.text", "at most 4096 characters, has 4097"},
		{interactive(`"type":"list","header":{"type":"image","image":{"id":"1"}},"action":{}`), "interactive.header.type", "must be text"},
		{interactive(`"type":"list","action":{"button":"b","sections":[{"rows":[` + rows(11) + `]}]}`), "interactive.action.sections", "at most 10 rows in all sections together, has 11"},
		{
			interactive(`"type":"list","action":{"button":"b","sections":[{"title":"a","rows":[` + rows(1) + `]},{"rows":[` + rows(1) + `]}]}`),
			"interactive.action.sections[1].title", "is missing",
		},
		{interactive(`"type":"list","action":{"button":"` + long(21) + `"}`), "interactive.action.button", "at most 20 characters, has 21"},
		{
			interactive(`"type":"list","action":{"button":"b","sections":[{"rows":[{"id":"1","title":"` + long(25) + `"}]}]}`),
			"interactive.action.sections[0].rows[0].title", "at most 24 characters, has 25",
		},
		{
			interactive(`"type":"list","action":{"button":"b","sections":[{"rows":[{"id":"` + long(201) + `","title":"t"}]}]}`),
			"interactive.action.sections[0].rows[0].id", "at most 200 characters, has 201",
		},
		{
			interactive(`"type":"list","action":{"button":"b","sections":[{"rows":[{"id":"1","title":"t","description":"` + long(73) + `"}]}]}`),
			"interactive.action.sections[0].rows[0].description", "at most 72 characters, has 73",
		},
		{
			interactive(`"type":"list","action":{"button":"b","sections":[{"title":"` + long(25) + `","rows":[` + rows(1) + `]}]}`),
			"interactive.action.sections[0].title", "at most 24 characters, has 25",
		},
		{
			interactive(`"type":"list","action":{"button":"b","sections":[` + strings.TrimSuffix(strings.Repeat(`{},`, 11), ",") + `]}`),
			"interactive.action.sections", "at most 10 elements, has 11",
		},
		{
			interactive(`"type":"cta_url","action":{"name":"cta_url","parameters":{"display_text":"` + long(21) + `"}}`),
			"interactive.action.parameters.display_text", "at most 20 characters, has 21",
		},
		{
			interactive(`"type":"cta_url","action":{"name":"cta_url","parameters":{"display_text":"a","url":"a.example"}}`),
			"interactive.action.parameters.url", "must be an http or https address",
		},
		{interactive(`"type":"cta_url","action":{"name":"cta_url"}`), "interactive.action.parameters", "is missing"},
		{
			interactive(`"type":"flow","action":{"name":"flow","parameters":{"flow_message_version":"3","flow_cta":"a"}}`),
			"interactive.action.parameters", "needs exactly one of flow_id and flow_name",
		},
		{
			interactive(`"type":"flow","action":{"name":"flow","parameters":{"flow_message_version":"3","flow_cta":"` + long(31) + `"}}`),
			"interactive.action.parameters.flow_cta", "at most 30 characters, has 31",
		},
		{interactive(`"type":"product","action":{"catalog_id":"1"}`), "interactive.action.product_retailer_id", "is missing"},
		{interactive(`"type":"product_list","action":{"catalog_id":"1"}`), "interactive.header", "is missing"},
		{
			interactive(`"type":"product_list","header":{"type":"text","text":"h"},"action":{"catalog_id":"1","sections":[{"product_items":[` +
				strings.TrimSuffix(strings.Repeat(`{"product_retailer_id":"1"},`, 31), ",") + `]}]}`),
			"interactive.action.sections", "at most 30 product_items in all sections together, has 31",
		},
		{interactive(`"type":"location_request_message","action":{"name":"location"}`), "interactive.action.name", "must be send_location"},
		{interactive(`"type":"address_message","action":{"name":"address_message","parameters":{}}`), "interactive.action.parameters.country", "is missing"},
		{
			interactive(`"type":"voice_call","action":{"name":"voice_call","parameters":{"display_text":"c","ttl_minutes":43201}}`),
			"interactive.action.parameters.ttl_minutes", "must be an integer from 1 to 43200",
		},
		{
			interactive(`"type":"carousel","action":{"cards":[` + strings.TrimSuffix(strings.Repeat(`{},`, 11), ",") + `]}`),
			"interactive.action.cards", "at most 10 elements, has 11",
		},
		{
			interactive(`"type":"carousel","action":{"cards":[{"body":{"text":"` + long(161) + `"}}]}`),
			"interactive.action.cards[0].body.text", "at most 160 characters, has 161",
		},
		{message(`"template":{"language":{"code":"en"}}`), "template.name", "is missing"},
		{message(`"template":{"name":"n"}`), "template.language", "is missing"},
		{message(`"template":{"name":"n","language":{}}`), "template.language.code", "is missing"},
		{
			message(`"template":{"name":"n","language":{"code":"en"},"components":[{"type":"button","sub_type":"url"}]}`),
			"template.components[0].index", "is missing",
		},
		{
			message(`"template":{"name":"n","language":{"code":"en"},"components":[{"type":"body","parameters":[{"type":"text"}]}]}`),
			"template.components[0].parameters[0].text", "is missing",
		},
		{
			message(`"template":{"name":"n","language":{"code":"en"},"components":[{"type":"body","parameters":[{"type":"currency",` +
				`"currency":{"fallback_value":"1","code":"USD","amount_1000":1.5}}]}]}`),
			"template.components[0].parameters[0].currency.amount_1000", "must be an integer",
		},
		{
			message(`"template":{"name":"n","language":{"code":"en"},"components":[{"type":"header","parameters":[{"type":"image"}]}]}`),
			"template.components[0].parameters[0].image", "is missing",
		},
		{`{"status":"read"}`, "message_id", "is missing"},
		// Each member of the wrong kind, or missing, where the rows above left it right.
		{many("x16"), "", "has an object with the same member twice, at byte 0"},
		{message(`"context":1,"text":"hi"`), "context", "must be an object"},
		{message(`"location":{"latitude":1,"longitude":1,"name":1}`), "location.name", "must be a string"},
		{message(`"reaction":{"emoji":""}`), "reaction.message_id", "is missing"},
		{message(`"contacts":{}`), "contacts", "must be an array"},
		{message(`"contacts":[{}]`), "contacts[0].name", "is missing"},
		{message(`"contacts":[{"name":{"formatted_name":"n","suffix":1}}]`), "contacts[0].name.suffix", "must be a string"},
		{message(`"contacts":[{"name":{"formatted_name":"n"},"urls":1}]`), "contacts[0].urls", "must be an array"},
		{message(`"contacts":[{"name":{"formatted_name":"n"},"org":1}]`), "contacts[0].org", "must be an object"},
		{message(`"contacts":[{"name":{"formatted_name":"n"},"birthday":1}]`), "contacts[0].birthday", "must be a string"},
		{message(`"document":{"id":"1","filename":1}`), "document.filename", "must be a string"},
		{message(`"image":{"link":""}`), "image.link", "must not be empty"},
		{message(`"image":{"link":"https://"}`), "image.link", "must be an http or https address"},
		{message(`"video":"v"`), "video", "must be an object"},
		{interactive(`"type":"button","header":1`), "interactive.header", "must be an object"},
		{interactive(`"type":"button","header":{"type":"video"}`), "interactive.header.video", "is missing"},
		{interactive(`"type":"button","footer":1`), "interactive.footer", "must be an object"},
		{interactive(`"type":"button"`), "interactive.action", "is missing"},
		{interactive(`"type":"button","action":{"buttons":[1]}`), "interactive.action.buttons[0]", "must be an object"},
		{interactive(`"type":"button","action":{"buttons":[{"type":"url"}]}`), "interactive.action.buttons[0].type", "must be reply"},
		{interactive(`"type":"button","action":{"buttons":[{"type":"reply"}]}`), "interactive.action.buttons[0].reply", "is missing"},
		{interactive(`"type":"list","action":{"button":"b","sections":[{"rows":1}]}`), "interactive.action.sections[0].rows", "must be an array"},
		{interactive(`"type":"product","action":{}`), "interactive.action.catalog_id", "is missing"},
		{interactive(`"type":"product_list","header":{"type":"text","text":"h"},"action":{}`), "interactive.action.catalog_id", "is missing"},
		{interactive(`"type":"cta_url","action":{"name":"cta_url","parameters":1}`), "interactive.action.parameters", "must be an object"},
		{interactive(`"type":"contact_request","action":{"name":"contact_request"}`), "interactive.action.name", "must be request_contact_info"},
		{interactive(`"type":"order_status","action":{"name":"order_status"}`), "interactive.action.name", "must be one of review_order, review_and_pay"},
		{interactive(`"type":"carousel","action":{}`), "interactive.action.cards", "is missing"},
		{interactive(`"type":"carousel","action":{"cards":[{"card_index":10}]}`), "interactive.action.cards[0].card_index", "must be an integer from 0 to 9"},
		{interactive(`"type":"carousel","action":{"cards":[{"header":1}]}`), "interactive.action.cards[0].header", "must be an object"},
		{interactive(`"type":"carousel","action":{"cards":[{"header":{"type":"image","image":{}}}]}`), "interactive.action.cards[0].header.image", ""},
		{interactive(`"type":"carousel","action":{"cards":[{"action":{"name":"cta_url"}}]}`), "interactive.action.cards[0].action.parameters", "is missing"},
		{
			interactive(`"type":"carousel","action":{"cards":[{"action":{"buttons":[{"type":"reply"}]}}]}`),
			"interactive.action.cards[0].action.buttons[0].type", "must be quick_reply",
		},
		{flow(`"flow_id":1`), "interactive.action.parameters.flow_id", "must be a string"},
		{flow(`"flow_name":""`), "interactive.action.parameters.flow_name", "must not be empty"},
		{flow(`"flow_id":"1","flow_name":"n"`), "interactive.action.parameters", "needs exactly one of flow_id and flow_name"},
		{flow(`"flow_id":"1","flow_token":1`), "interactive.action.parameters.flow_token", "must be a string"},
		{flow(`"flow_id":"1","flow_action":"go"`), "interactive.action.parameters.flow_action", "must be one of navigate, data_exchange"},
		{flow(`"flow_id":"1","mode":"test"`), "interactive.action.parameters.mode", "must be one of draft, published"},
		{flow(`"flow_id":"1","flow_action_payload":"{}"`), "interactive.action.parameters.flow_action_payload", "must be an object"},
		{component(`1`), "template.components[0]", "must be an object"},
		{component(`{}`), "template.components[0].type", "is missing"},
		{component(`{"type":"button"}`), "template.components[0].sub_type", "is missing"},
		{component(`{"type":"button","sub_type":"url","index":"x"}`), "template.components[0].index", "must be a whole number, or a string that holds one"},
		{component(`{"type":"carousel","cards":1}`), "template.components[0].cards", "must be an array"},
		{component(`{"type":"carousel","cards":[` + strings.TrimSuffix(strings.Repeat(`{},`, 11), ",") + `]}`), "template.components[0].cards", "at most 10 elements, has 11"},
		{component(`{"type":"carousel","cards":[{"card_index":-1}]}`), "template.components[0].cards[0].card_index", "must be an integer from 0 to 9"},
		{component(`{"type":"carousel","cards":[{"components":[{}]}]}`), "template.components[0].cards[0].components[0].type", "is missing"},
		{parameter(`{}`), "template.components[0].parameters[0].type", "is missing"},
		{parameter(`{"type":"text","text":"t","parameter_name":1}`), "template.components[0].parameters[0].parameter_name", "must be a string"},
		{parameter(`{"type":"payload"}`), "template.components[0].parameters[0].payload", "is missing"},
		{parameter(`{"type":"coupon_code"}`), "template.components[0].parameters[0].coupon_code", "is missing"},
		{parameter(`{"type":"action","action":1}`), "template.components[0].parameters[0].action", "must be an object"},
		{parameter(`{"type":"date_time"}`), "template.components[0].parameters[0].date_time", "is missing"},
		{parameter(`{"type":"date_time","date_time":{}}`), "template.components[0].parameters[0].date_time.fallback_value", "is missing"},
		{parameter(`{"type":"currency"}`), "template.components[0].parameters[0].currency", "is missing"},
		{parameter(`{"type":"currency","currency":{}}`), "template.components[0].parameters[0].currency.fallback_value", "is missing"},
		{parameter(`{"type":"currency","currency":{"fallback_value":"1"}}`), "template.components[0].parameters[0].currency.code", "is missing"},
		{parameter(`{"type":"currency","currency":{"fallback_value":"1","code":"USD"}}`), "template.components[0].parameters[0].currency.amount_1000", "is missing"},
		{`{"status":"seen","message_id":"wamid.1"}`, "status", "must be read"},
		{`{"message_id":"wamid.1","typing_indicator":{"type":"text"}}`, "status", "must be read"},
		{`{"status":"read","message_id":"wamid.1","typing_indicator":{"type":"audio"}}`, "typing_indicator.type", "must be text"},
		{`{"status":"read","message_id":"wamid.1","to":"+15550142233","text":"hi"}`, "", ""},
	}
}

func TestDecodeCommandRefuses(t *testing.T) {
	for _, c := range badCommands() {
		got, err := DecodeCommand(nil, []byte(c.in))
		e, ok := errors.AsType[*InvalidError](err)
		if !ok {
			t.Errorf("%.100s: got %+v, %v", c.in, got, err)
			continue
		}
		if e.Path != c.path || c.reason != "" && e.Reason != c.reason {
			t.Errorf("%.100s\n got %q: %q\nwant %q: %q", c.in, e.Path, e.Reason, c.path, c.reason)
		}
	}
}
