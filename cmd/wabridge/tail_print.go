package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/codec"
)

// printer writes messages for a person or as JSON.
type printer struct {
	w      io.Writer
	names  bridge.Names
	json   bool
	colour bool
}

func newPrinter(w io.Writer, names bridge.Names, asJSON bool) *printer {
	colour := isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &printer{w: w, names: names, json: asJSON, colour: colour}
}

func (p *printer) print(l line) error {
	if p.json {
		return p.printJSON(l)
	}
	kind, session := p.subject(l.msg.Subject())
	text := clip(summary(kind, l.msg), 400)
	head := fmt.Sprintf("%s  %-6s  %-12s", l.meta.Timestamp.Local().Format("15:04:05.000"), kind, session)
	if p.colour {
		head = colourOf(kind) + head + "\x1b[0m"
	}
	_, err := fmt.Fprintf(p.w, "%s  %s\n", head, text)
	return err
}

// subject takes a stored subject apart: wa.outbox.<shard>.<session> is a send.
func (p *printer) subject(subject string) (kind, session string) {
	rest := strings.Split(strings.TrimPrefix(subject, p.names.Prefix()+"."), ".")
	kind, session = rest[0], rest[len(rest)-1]
	if kind == "outbox" {
		kind = "send"
	}
	return kind, session
}

func colourOf(kind string) string {
	switch kind {
	case "send":
		return "\x1b[36m"
	case "recv":
		return "\x1b[32m"
	case "status":
		return "\x1b[33m"
	case "dead":
		return "\x1b[31m"
	default:
		return "\x1b[35m"
	}
}

// tailed is a line of `wabridge tail --json`.
type tailed struct {
	Time     time.Time           `json:"time"`
	Subject  string              `json:"subject"`
	Stream   string              `json:"stream"`
	Sequence uint64              `json:"sequence"`
	Header   map[string][]string `json:"header,omitempty"`
	// Data is the body where it is JSON; Raw, in base64, where it is not.
	Data json.RawMessage `json:"data,omitempty"`
	Raw  []byte          `json:"raw,omitempty"`
}

func (p *printer) printJSON(l line) error {
	t := tailed{
		Time: l.meta.Timestamp.UTC(), Subject: l.msg.Subject(), Stream: l.meta.Stream,
		Sequence: l.meta.Sequence.Stream, Header: l.msg.Headers(),
	}
	if kind, session := p.subject(t.Subject); kind == "send" {
		t.Subject = p.names.Send(session)
	}
	if json.Valid(l.msg.Data()) {
		t.Data = l.msg.Data()
	} else {
		t.Raw = l.msg.Data()
	}
	return encodeJSON(p.w, t)
}

// encodeJSON writes v as one line, without escaping what is not HTML.
func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// summary says in one line what a message is. Whatever it cannot read it shows
// as it is.
func summary(kind string, m jetstream.Msg) string {
	switch kind {
	case "send":
		if c, err := codec.DecodeCommand(m.Headers(), m.Data()); err == nil {
			return fmt.Sprintf("to %s  %s  %s", c.Conversation, c.Type, content(c.Type, c.Body))
		}
	case "recv":
		if in, err := codec.ParseMessage(m.Data()); err == nil {
			return fmt.Sprintf("from %s  %s  %s", in.Conversation, in.Type, content(in.Type, in.Raw))
		}
	case "status":
		if r, err := codec.ParseReport(m.Data()); err == nil {
			return reportSummary(&r)
		}
	case "event":
		if e, err := codec.ParseFieldEvent(m.Data()); err == nil {
			return e.Field + "  " + compact(e.Value)
		}
	case "dead":
		l := newLetter(m.Subject(), m.Headers(), m.Data())
		return fmt.Sprintf("%s  %s  %s", l.Class, printable(l.Reason), compact(m.Data()))
	}
	return compact(m.Data())
}

func reportSummary(r *codec.Report) string {
	s := r.Status
	if r.To != "" {
		s += "  to " + r.To
	}
	if r.Ref != "" {
		s += "  ref " + printable(r.Ref)
	}
	if r.Error != nil {
		s += "  " + explain(r.Error)
	}
	return s
}

// content is the object of a message that its type names; of a text, the text.
func content(kind string, body []byte) string {
	var objects map[string]json.RawMessage
	if err := json.Unmarshal(body, &objects); err != nil || objects[kind] == nil {
		return compact(body)
	}
	if kind == "text" {
		var text struct {
			Body string `json:"body"`
		}
		if err := json.Unmarshal(objects[kind], &text); err == nil {
			return `"` + printable(text.Body) + `"`
		}
	}
	return compact(objects[kind])
}

// compact puts JSON, or whatever else came, on one line.
func compact(data []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return printable(string(data))
	}
	return printable(b.String())
}
