package simulator

import (
	"encoding/json"
	"time"
)

// Message is one message between the business and a user.
type Message struct {
	ID      string `json:"id"`
	Session string `json:"session"`
	// Number is the user's: phone number in digits, BSUID, or the group's id.
	Number   string `json:"number"`
	FromUser bool   `json:"from_user"`
	Type     string `json:"type"`
	// Body is the send body of the business, or the message object of the user.
	Body json.RawMessage `json:"body,omitempty"`
	// Ref is the id of the whatsapp.send that brought it.
	Ref         string `json:"ref,omitempty"`
	TraceParent string `json:"traceparent,omitempty"`
	// Callback is the send's biz_opaque_callback_data.
	Callback string `json:"biz_opaque_callback_data,omitempty"`
	// Status is the tick: accepted, sent, delivered, read or failed. A user's
	// message is delivered, and read once the business marked it as read.
	Status    string    `json:"status"`
	Error     int       `json:"error,omitempty"`
	At        time.Time `json:"at"`
	Sent      time.Time `json:"sent,omitzero"`
	Delivered time.Time `json:"delivered,omitzero"`
	Read      time.Time `json:"read,omitzero"`
	// Answered: its result was written to a connection.
	Answered bool `json:"answered"`
	// Typing: the business said that it is writing, on this message of a user.
	Typing bool `json:"typing,omitempty"`

	connection   int    // the connection that brought it, counted per session
	kind         string // "group", or ""
	participants []string
}

// Repeat is a send that the platform knew already and did not deliver again.
type Repeat struct {
	Ref string    `json:"ref"`
	ID  string    `json:"id"`
	At  time.Time `json:"at"`
	// Answered: the earlier send's result had been written to its connection.
	Answered bool `json:"answered"`
	// Reconnected: the repeat came on another connection than the earlier send.
	Reconnected bool `json:"reconnected"`
}

// Sent lists what a session's bridge got accepted, in the order of acceptance,
// without bodies: at most limit, from index after on. The index of the first
// is after; next is what to ask for to go on.
func (s *Simulator) Sent(session string, after, limit int) (list []Message, next int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[session]
	if sess == nil {
		return nil, after
	}
	from := min(max(after-sess.dropped, 0), len(sess.order))
	to := min(from+limit, len(sess.order))
	for _, m := range sess.order[from:to] {
		c := *m
		c.Body = nil
		list = append(list, c)
	}
	return list, to + sess.dropped
}

// Repeats lists the repeats that a session absorbed.
func (s *Simulator) Repeats(session string) []Repeat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess := s.sessions[session]; sess != nil {
		return append([]Repeat(nil), sess.repeats...)
	}
	return nil
}
