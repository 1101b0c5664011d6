package codec

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// benchmarkText is a text of 512 bytes, the size that the bridge's own figures
// use.
func benchmarkText() string { return strings.Repeat("0123456789abcdef", 32) }

func benchmarkMessage() []byte {
	return []byte(`{"message":{"from":"15550142233","id":"wamid.HBgLMTU1NTAxNDIyMzMVAgASGBQzQTAwAA==","timestamp":"1795430000","type":"text",` +
		`"text":{"body":"` + benchmarkText() + `"}},"contact":{"profile":{"name":"Marta"},"wa_id":"15550142233"},` +
		`"metadata":{"display_phone_number":"15550199001","phone_number_id":"880090070060050"}}`)
}

func benchmarkEvent() Event {
	return Event{
		ID: "ev-1", Source: "/whatsapp/shop", Type: "whatsapp.message.text", Subject: "15550142233", Time: "2026-11-23T12:00:00Z",
		Sequence: "00000000000000000017", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Data: benchmarkMessage(),
	}
}

func BenchmarkParseEvent(b *testing.B) {
	e := benchmarkEvent()
	frame := AppendEvent(nil, &e)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseEvent(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	e := benchmarkEvent()
	var frame []byte
	b.ReportAllocs()
	for b.Loop() {
		frame = AppendEvent(frame[:0], &e)
	}
	b.SetBytes(int64(len(frame)))
}

func BenchmarkParseMessage(b *testing.B) {
	data := benchmarkMessage()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMessage(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseStatus(b *testing.B) {
	raw := statusExamples(b)[0]
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseStatus(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStatusWithCallback(b *testing.B) {
	s, err := ParseStatus(statusExamples(b)[0])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.WithCallback("mine")
	}
}

func BenchmarkParseSendResult(b *testing.B) {
	data := []byte(`{"ref":"order-1234","messages":[{"id":"wamid.HBgLMTU1NTAxNDIyMzMVAgASGBQzQTAwAA=="}],"duplicate":false}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSendResult(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeCommand(b *testing.B) {
	body := []byte(`{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"` + benchmarkText() + `"}}`)
	header := map[string][]string{
		"Nats-Msg-Id": {"order-1234"}, "traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeCommand(header, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendBody(b *testing.B) {
	c, err := DecodeCommand(nil, []byte(`{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"`+benchmarkText()+`"}}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.AppendBody(nil, "wab1;00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01;17;order-1234;")
	}
}

func BenchmarkReportAppend(b *testing.B) {
	r := Report{
		Ref: "order-1234", ID: "wamid.1", To: "15550142233", Status: "delivered", At: time.Unix(1795430000, 0), Attempts: 1,
		Raw: statusExamples(b)[0],
	}
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		body = r.Append(body[:0])
	}
	b.SetBytes(int64(len(body)))
}

func BenchmarkCallback(b *testing.B) {
	c := Callback{TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Sequence: 17, Ref: "order-1234"}
	b.ReportAllocs()
	for b.Loop() {
		s, err := c.Encode()
		if err != nil {
			b.Fatal(err)
		}
		if _, ok := ParseCallback(s); !ok {
			b.Fatal(s)
		}
	}
}

func BenchmarkSetEventHeaders(b *testing.B) {
	h := make(map[string][]string, 12)
	a := EventAttributes{
		ID: "shop:wamid.1", Source: "/wabridge/shop", Type: "whatsapp.message.text", Subject: "15550142233", Time: time.Unix(1795430000, 0),
	}
	b.ReportAllocs()
	for b.Loop() {
		SetEventHeaders(h, a)
	}
}

func BenchmarkParseWebhook(b *testing.B) {
	body := readExample(b, "webhook/msg_text.json")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseWebhook(body); err != nil {
			b.Fatal(err)
		}
	}
}

// A webhook as full as Meta makes them: 1,000 messages of as many people.
func BenchmarkParseWebhookOfThousand(b *testing.B) {
	var people, messages []string
	for i := range 1000 {
		people = append(people, fmt.Sprintf(`{"profile":{"name":"Marta"},"wa_id":"1555%07d"}`, i))
		messages = append(messages, fmt.Sprintf(`{"from":"1555%07d","id":"wamid.%d","timestamp":"1795430000","type":"text","text":{"body":"%s"}}`,
			i, i, benchmarkText()))
	}
	body := []byte(hook(change("messages", `{`+metadata+`,"contacts":[`+strings.Join(people, ",")+`],"messages":[`+strings.Join(messages, ",")+`]}`)))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		parts, err := ParseWebhook(body)
		if err != nil || len(parts) != 1000 {
			b.Fatal(len(parts), err)
		}
	}
}
