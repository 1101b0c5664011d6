package inbound_test

import (
	"os"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/codec"
)

// examples returns the JSON blocks of a page of the documentation.
func examples(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for i, part := range strings.Split(string(text), "```json\n") {
		if block, _, found := strings.Cut(part, "```"); i > 0 && found {
			blocks = append(blocks, strings.TrimSpace(block))
		}
	}
	return blocks
}

// TestDocumentedFrames stores the example frames of the Chat API's page.
func TestDocumentedFrames(t *testing.T) {
	events := 0
	for _, block := range examples(t, "chat-api.md") {
		event, err := codec.ParseEvent([]byte(block))
		if err != nil {
			t.Errorf("%v:\n%s", err, block)
			continue
		}
		kind, subject := bridge.Kind(0), ""
		switch strings.Split(event.Type, ".")[1] {
		case "message":
			kind, subject = bridge.KindMessage, "wa.recv.shop"
		case "status":
			kind, subject = bridge.KindStatus, "wa.status.shop"
		case "event":
			kind, subject = bridge.KindEvent, "wa.event.shop"
		case "session":
			_, err = codec.ParseReady(event.Data)
		case "result":
			_, err = codec.ParseSendResult(event.Data)
		case "send":
			_, err = codec.DecodeCommand(nil, event.Data)
		}
		if err != nil {
			t.Errorf("%v:\n%s", err, block)
		}
		if kind == 0 {
			continue
		}
		events++
		if r := one(t, &bridge.Inbound{Kind: kind, Data: event.Data}); r.Subject != subject || r.Header["ce-type"][0] != event.Type {
			t.Errorf("got %s %s (%v) for\n%s", r.Subject, r.Header["ce-type"], r.Header["Wa-Dead-Reason"], block)
		}
	}
	if events < 4 {
		t.Errorf("found %d events", events)
	}
}

// TestDocumentedBodies reads the example bodies of the NATS contract.
func TestDocumentedBodies(t *testing.T) {
	counts := map[string]int{}
	for _, block := range examples(t, "subjects.md") {
		var err error
		switch {
		case strings.Contains(block, `"rank"`):
			counts["status"]++
			_, err = codec.ParseReport([]byte(block))
		case strings.HasPrefix(block, `{"message"`):
			counts["message"]++
			_, err = codec.ParseMessage([]byte(block))
		case strings.HasPrefix(block, `{"field"`):
			counts["event"]++
			_, err = codec.ParseFieldEvent([]byte(block))
		case strings.HasPrefix(block, `{"object"`):
			counts["object"]++
		default:
			for line := range strings.Lines(block) {
				counts["command"]++
				if _, err = codec.DecodeCommand(nil, []byte(line)); err != nil {
					break
				}
			}
		}
		if err != nil {
			t.Errorf("%v:\n%s", err, block)
		}
	}
	if counts["status"] != 1 || counts["message"] != 1 || counts["event"] != 1 || counts["object"] != 1 || counts["command"] != 3 {
		t.Errorf("found %v", counts)
	}
}
