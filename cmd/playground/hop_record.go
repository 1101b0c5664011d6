package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

const (
	// lineBytes is how much of a body a row of the list shows.
	lineBytes = 300
	// bodyBytes is how much of a body is kept to be opened.
	bodyBytes = 256 << 10
)

// record is one message on the subjects, as JetStream stored it.
type record struct {
	N        int       `json:"n"` // counts what the hop saw
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"` // send, recv, status, event or dead
	Subject  string    `json:"subject"`
	Type     string    `json:"type"` // ce-type without "whatsapp."; of a command what it sends
	Line     string    `json:"line"`
	Stream   string    `json:"stream"`
	Sequence uint64    `json:"sequence"`
	Size     int       `json:"size"`
	// Trace and Span are what traceparent names. Trace of a command without one is
	// that of its outcome.
	Trace string `json:"trace,omitempty"`
	Span  string `json:"span,omitempty"`
	// State is the session's, of an event that tells it.
	State string `json:"state,omitempty"`

	ref    string // of commands and statuses
	stored string // the subject that it is stored under
	header nats.Header
	body   []byte
}

// newRecord reads a stored message. created is when its stream was.
func newRecord(meta *jetstream.MsgMetadata, m *nats.Msg, created time.Time) *record {
	r := &record{
		At: meta.Timestamp, Stream: meta.Stream, Sequence: meta.Sequence.Stream, Size: len(m.Data),
		Subject: published(m.Subject), stored: m.Subject, header: m.Header, body: m.Data[:min(len(m.Data), bodyBytes)],
	}
	_, rest, _ := strings.Cut(r.Subject, ".")
	r.Kind, _, _ = strings.Cut(rest, ".")
	r.Type = strings.TrimPrefix(r.header.Get("ce-type"), "whatsapp.")
	r.Line = strings.ToValidUTF8(oneLine("", m.Data[:min(len(m.Data), lineBytes)]), "")
	r.Trace, r.Span = parseTraceparent(bridge.Carrier(r.header).Get("traceparent"))
	var said struct {
		Ref   string
		Value struct{ State string }
	}
	switch r.Kind {
	case "send":
		r.ref, r.Type = refOf(r, created), typeOf(m.Data)
	case "status":
		if json.Unmarshal(m.Data, &said) == nil {
			r.ref = said.Ref
		}
	case "event":
		if r.Type == "event.session_state" && json.Unmarshal(m.Data, &said) == nil {
			r.State = said.Value.State
		}
	}
	return r
}

// published is the subject that a message was published on: WA_SEND stores
// commands under one with the shard in it.
func published(stored string) string {
	parts := strings.Split(stored, ".")
	if len(parts) == 4 && parts[1] == "outbox" {
		return parts[0] + ".send." + parts[3]
	}
	return stored
}

// refOf is the ref of a command, as the bridge makes it.
func refOf(r *record, created time.Time) string {
	for _, name := range []string{"Wa-Ref", nats.MsgIdHdr} {
		if v := r.header.Get(name); v != "" {
			return v
		}
	}
	return fmt.Sprintf("%s:%d:%d", r.Stream, created.Unix(), r.Sequence)
}

// typeOf is what a command is about, as far as it says so itself.
func typeOf(body []byte) string {
	var said map[string]json.RawMessage
	if json.Unmarshal(body, &said) != nil {
		return ""
	}
	var kind string
	if json.Unmarshal(said["type"], &kind) == nil && kind != "" {
		return kind
	}
	for _, kind := range []string{
		"typing_indicator", "text", "image", "audio", "video", "document", "sticker", "location", "contacts", "reaction", "interactive", "template",
	} {
		if said[kind] != nil {
			return kind
		}
	}
	if said["status"] != nil {
		return "read"
	}
	return ""
}

func parseTraceparent(v string) (trace, span string) {
	parts := strings.Split(v, "-")
	if len(parts) != 4 || len(parts[1]) != 32 || len(parts[2]) != 16 {
		return "", ""
	}
	return parts[1], parts[2]
}

// opened is a record with all that is kept of it.
type opened struct {
	record
	Stored string      `json:"stored"`
	Ref    string      `json:"ref,omitempty"`
	Header nats.Header `json:"header"`
	Body   string      `json:"body"`
	// Escaped: the body is no UTF-8, and Body is a Go string literal of it.
	Escaped bool `json:"escaped,omitempty"`
	Cut     bool `json:"cut,omitempty"` // the rest was not kept
}

func (r *record) open() opened {
	body, cut := r.body, r.Size > len(r.body)
	for i := 0; cut && i < utf8.UTFMax && !utf8.Valid(body); i++ {
		body = body[:len(body)-1] // a character was cut through
	}
	o := opened{record: *r, Stored: r.stored, Ref: r.ref, Header: r.header, Body: string(body), Cut: cut}
	if !utf8.Valid(body) {
		o.Body, o.Escaped = fmt.Sprintf("%q", body), true
	}
	return o
}
