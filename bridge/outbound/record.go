package outbound

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"wabridge/bridge"
	"wabridge/codec"
)

const (
	// textLimit bounds what a platform's words add to a record.
	textLimit = 1024
	// cutLimit is how much of a body is kept where the whole does not fit.
	cutLimit = 64 << 10
	// reportSize is what most reports fit in.
	reportSize = 320
)

// outcomeRecord is the one word on a command, for wa.status. Its header is
// borrowed until Done.
func (t *settlement) outcomeRecord(c *command) *bridge.Record {
	o := &c.outcome
	id := messageID(c, ":outcome")
	subject, source := t.voice(c)
	header := codec.BorrowHeader()
	codec.SetEventHeaders(header, codec.EventAttributes{
		ID:      id,
		Source:  source,
		Type:    eventType(o.word),
		Subject: c.to(),
		Time:    o.at,
	})
	values := [3]string{id, c.parent.traceparent, c.parent.tracestate}
	header["Nats-Msg-Id"] = values[0:1:1]
	if c.parent.traceparent != "" {
		header["traceparent"] = values[1:2:2]
	}
	if c.parent.tracestate != "" {
		header["tracestate"] = values[2:3:3]
	}
	report := codec.Report{Ref: c.ref, ID: o.id, To: c.to(), Status: o.word, At: o.at, Attempts: c.attempts}
	if o.word != codec.StatusAccepted {
		report.Error = &codec.ReportError{
			Class: o.class, Code: o.code, Title: cut(o.title, textLimit), Detail: cut(o.detail, textLimit),
		}
	}
	return &bridge.Record{Subject: subject, Header: header, Body: report.Append(make([]byte, 0, reportSize))}
}

// voice is where, and in whose name, the outcome of a command is told.
func (t *settlement) voice(c *command) (subject, source string) {
	if c.session == t.cfg.Session {
		return t.status, t.source
	}
	return t.cfg.Names.Status(c.session), "/wabridge/" + c.session // an orphan
}

// messageID is what JetStream knows a record of a command by.
func messageID(c *command, kind string) string {
	b := make([]byte, 0, 96)
	b = append(b, c.session...)
	b = append(b, ':')
	b = strconv.AppendUint(b, c.sequence, 10)
	return string(append(b, kind...))
}

// eventType is the ce-type of an outcome; that of the common one costs no
// allocation.
func eventType(word string) string {
	if word == codec.StatusAccepted {
		return "whatsapp.status." + codec.StatusAccepted
	}
	return "whatsapp.status." + word
}

// deadRecord is a command as it came, with the reason it went no further.
func deadRecord(names bridge.Names, c *command) *bridge.Record {
	o := &c.outcome
	header := make(map[string][]string, len(c.header)+10)
	body := c.body
	if o.cut {
		sum := sha256.Sum256(body)
		header["Wa-Dead-Size"] = []string{strconv.Itoa(len(body))}
		header["Wa-Dead-Sha256"] = []string{hex.EncodeToString(sum[:])}
		body = body[:min(len(body), cutLimit)]
	} else {
		maps.Copy(header, c.header)
		maps.DeleteFunc(header, func(name string, _ []string) bool {
			return strings.HasPrefix(strings.ToLower(name), "nats-")
		})
	}
	sequence := strconv.FormatUint(c.sequence, 10)
	header["Nats-Msg-Id"] = []string{messageID(c, ":dead")}
	header["Wa-Dead-Reason"] = []string{headerText(o.reason())}
	header["Wa-Dead-Class"] = []string{o.class.String()}
	header["Wa-Dead-Code"] = []string{strconv.Itoa(o.code)}
	header["Wa-Dead-Subject"] = []string{names.Send(c.session)}
	header["Wa-Dead-Sequence"] = []string{sequence}
	header["Wa-Dead-Attempts"] = []string{strconv.Itoa(c.attempts)}
	if ref := c.header["Wa-Ref"]; len(ref) == 0 || o.cut {
		// What sends it again finds the ref where it looks first.
		header["Wa-Ref"] = []string{c.ref}
	}
	return &bridge.Record{Subject: names.Dead(c.session), Header: header, Body: body}
}

// reason is the outcome in one line, for people.
func (o *outcome) reason() string {
	parts := slices.DeleteFunc([]string{o.title, o.detail}, func(s string) bool { return s == "" })
	if len(parts) == 0 {
		return o.word
	}
	return o.word + ": " + strings.Join(parts, ": ")
}

// verdict is the outcome without anybody's words: it reaches logs and
// advisories.
func (o *outcome) verdict() string {
	text := o.word + ": " + o.class.String()
	if o.code != 0 {
		text += " " + strconv.Itoa(o.code)
	}
	return text
}

// headerText keeps a text to one line of a header.
func headerText(s string) string {
	return cut(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s), textLimit)
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
