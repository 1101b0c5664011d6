package main

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// source is what every row says of where it comes from.
type source struct {
	Sequence int64     `parquet:"sequence"`
	Stored   time.Time `parquet:"stored,timestamp(microsecond)"`
	Session  string    `parquet:"session,dict"`
	// At is WhatsApp's own time of it; "at" is a word of SQL.
	At time.Time `parquet:"occurred,timestamp(microsecond)"`
	// Conversation is whom it is from or to: phone number in digits, user id or
	// group id.
	Conversation string `parquet:"conversation,optional"`
}

// message is a row of the table messages: what a user wrote, without the words.
type message struct {
	source
	ID      string `parquet:"id"`
	Type    string `parquet:"type,dict"`
	ReplyTo string `parquet:"reply_to,optional"`
}

// status is a row of the table statuses: an outcome, or what the platform reports.
type status struct {
	source
	Ref      string `parquet:"ref,optional"`
	ID       string `parquet:"id,optional"`
	Status   string `parquet:"status,dict"`
	Rank     int32  `parquet:"rank"`
	Attempts int32  `parquet:"attempts,optional"`
	Class    string `parquet:"class,optional,dict"`
	Code     int32  `parquet:"code,optional"`
}

func newSource(m jetstream.Msg, meta *jetstream.MsgMetadata) source {
	h := m.Headers()
	s := source{
		Sequence: int64(meta.Sequence.Stream), Stored: meta.Timestamp, At: meta.Timestamp,
		Session: m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:], Conversation: attribute(h.Get("ce-subject")),
	}
	if at, err := time.Parse(time.RFC3339, h.Get("ce-time")); err == nil {
		s.At = at
	}
	return s
}

// attribute undoes the percent-encoding of CloudEvents headers.
func attribute(v string) string {
	if decoded, err := url.PathUnescape(v); err == nil {
		return decoded
	}
	return v
}

// newMessage reads what it can: a body that is too large for NATS has its
// headers all the same.
func newMessage(m jetstream.Msg, meta *jetstream.MsgMetadata) message {
	var body struct {
		Message struct {
			Context struct{ ID string }
		}
	}
	_ = json.Unmarshal(m.Data(), &body) // a reply that is not understood is no reply
	row := message{source: newSource(m, meta), ReplyTo: body.Message.Context.ID}
	row.ID = strings.TrimPrefix(m.Headers().Get("Nats-Msg-Id"), row.Session+":")
	row.Type = strings.TrimPrefix(m.Headers().Get("ce-type"), "whatsapp.message.")
	return row
}

func newStatus(m jetstream.Msg, meta *jetstream.MsgMetadata) status {
	var body struct {
		Ref, ID        string
		Rank, Attempts int32
		Error          struct {
			Class string
			Code  int32
		}
	}
	_ = json.Unmarshal(m.Data(), &body) // its word and conversation are in the headers
	return status{
		source: newSource(m, meta), Status: strings.TrimPrefix(m.Headers().Get("ce-type"), "whatsapp.status."),
		Ref: body.Ref, ID: body.ID, Rank: body.Rank, Attempts: body.Attempts, Class: body.Error.Class, Code: body.Error.Code,
	}
}
