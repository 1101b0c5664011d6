package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// written is what a user writes, taken apart.
type written struct {
	session, kind, traceparent, replyTo string
	name                                string // the key of the content
	content                             []byte
	contextual                          bool   // context is in rest already
	rest                                []byte // members that pass through: ,"key":value
}

// Write lets a user write to a business. The body is a WhatsApp message object
// without from, id and timestamp, which are added; every other member passes
// through byte for byte. These members are for the simulator:
//
//	session      whom the user writes to (required)
//	traceparent  for the event; else that of the message answered, else that of
//	             the last message which this business sent
//	reply_to     the id of a message to answer: becomes context
//
// and these are short: "text":"hi" for {"body":"hi"}; "button_reply":"<id>" and
// "list_reply":"<id>" with reply_to, for a tap on what was sent; "type" may be
// left out. Write returns the message's id.
func (s *Simulator) Write(num string, body []byte) (string, error) {
	w, err := parseWritten(body)
	if err != nil {
		return "", fmt.Errorf("writing as user: %w", err)
	}
	s.mu.Lock()
	m, err := s.writeLocked(number(num), w)
	s.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("writing as user: %w", err)
	}
	s.flush()
	return m.ID, nil
}

func parseWritten(body []byte) (*written, error) {
	w := &written{}
	err := walkObject(body, func(key, value []byte) error {
		into := &w.session
		switch string(key) {
		case "session":
		case "type":
			into = &w.kind
		case "traceparent":
			into = &w.traceparent
		case "reply_to":
			into = &w.replyTo
		case "from", "id", "timestamp":
			return fmt.Errorf("%s is the platform's to give", key)
		case "context":
			w.keep(key, value)
			w.contextual, w.replyTo = true, contextOf(value)
			return nil
		default:
			if w.content == nil && !besideContent(string(key)) {
				w.name, w.content = string(key), value
				return nil
			}
			w.keep(key, value)
			return nil
		}
		if !isString(value) {
			return fmt.Errorf("%s is not a string", key)
		}
		*into = text(value)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case w.session == "":
		return nil, errors.New("session is missing")
	case w.traceparent != "" && !validTraceParent(w.traceparent):
		return nil, errors.New("traceparent is malformed")
	case w.content == nil && w.kind == "":
		return nil, errors.New("there is nothing in the message")
	}
	if w.kind == "" {
		w.kind = w.name
	}
	if w.name == "text" && isString(w.content) {
		w.content = fmt.Appendf(nil, `{"body":%s}`, w.content)
	}
	return w, nil
}

// besideContent tells members that are not what a message is about.
func besideContent(key string) bool {
	return key == "errors" || key == "referral" || key == "identity" || key == "group_id"
}

func (w *written) keep(key, value []byte) {
	w.rest = append(w.rest, ',')
	w.rest = appendText(w.rest, string(key))
	w.rest = append(w.rest, ':')
	w.rest = append(w.rest, value...)
}

// contextOf reads the id of a context object.
func contextOf(raw []byte) string {
	var c struct{ ID string }
	if json.Unmarshal(raw, &c) != nil {
		return ""
	}
	return c.ID
}

func (s *Simulator) writeLocked(num string, w *written) (*Message, error) {
	sess := s.sessions[w.session]
	if sess == nil {
		return nil, fmt.Errorf("no session %q", w.session)
	}
	if num == "" {
		return nil, errors.New("the user has no number")
	}
	u := s.user(num)
	answered := u.find(w.replyTo)
	if w.name == "button_reply" || w.name == "list_reply" {
		if err := w.tap(answered); err != nil {
			return nil, err
		}
	}
	s.fillMedia(w)
	now := time.Now()
	id := s.wamids.next(num, true)
	inner := fmt.Appendf(nil, `{%q:`, fromKey(num))
	inner = appendText(inner, num)
	inner = append(inner, `,"id":"`...)
	inner = append(inner, id...)
	inner = append(inner, `","timestamp":"`...)
	inner = strconv.AppendInt(inner, now.Unix(), 10)
	inner = append(inner, `","type":`...)
	inner = appendText(inner, w.kind)
	if w.replyTo != "" && !w.contextual {
		inner = append(inner, `,"context":{"from":`...)
		inner = appendText(inner, sess.cfg.DisplayPhoneNumber)
		inner = append(inner, `,"id":`...)
		inner = appendText(inner, w.replyTo)
		inner = append(inner, '}')
	}
	if w.name != "" {
		inner = append(inner, ',')
		inner = appendText(inner, w.name)
		inner = append(inner, ':')
		inner = append(inner, w.content...)
	}
	inner = append(inner, w.rest...)
	inner = append(inner, '}')

	m := &Message{
		ID: id, Session: w.session, Number: num, FromUser: true, Type: w.kind, Body: inner, Status: "delivered",
		At: now, Delivered: now, TraceParent: w.traceparent,
	}
	if m.TraceParent == "" {
		m.TraceParent = u.lastTrace(w.session, answered)
	}
	u.keep(m, s.cfg.TranscriptLimit)
	u.wrote[w.session] = now
	s.emit(sess, occurrence{kind: "message", name: w.kind, peer: num, inner: inner, contact: u.contact(), traceparent: m.TraceParent})
	s.tell(Notice{Kind: "message", Session: w.session, Number: num, Message: m})
	return m, nil
}

func fromKey(num string) string {
	if isBSUID(num) {
		return "from_user_id"
	}
	return "from"
}

// lastTrace is the trace that a user's message continues.
func (u *user) lastTrace(session string, answered *Message) string {
	if answered != nil {
		return answered.TraceParent
	}
	for _, m := range slices.Backward(u.messages) {
		if !m.FromUser && m.Session == session && !m.Delivered.IsZero() {
			return m.TraceParent
		}
	}
	return ""
}

func (u *user) contact() []byte {
	c := append([]byte(nil), `{"profile":{"name":`...)
	c = appendText(c, u.Name)
	if isBSUID(u.Number) {
		c = append(c, `},"user_id":`...)
	} else {
		c = append(c, `},"wa_id":`...)
	}
	c = appendText(c, u.Number)
	return append(c, '}')
}

// tap turns the id of a button or row into the reply that WhatsApp makes of it.
func (w *written) tap(on *Message) error {
	if on == nil || on.FromUser || on.Body == nil {
		return errors.New("reply_to is no message on this phone to tap on")
	}
	var sent struct {
		Interactive interactive `json:"interactive"`
	}
	if err := json.Unmarshal(on.Body, &sent); err != nil || sent.Interactive.Action == nil {
		return errors.New("that message has no buttons")
	}
	id := text(w.content)
	reply := func(title, description string) {
		inner := append([]byte(nil), `{"type":`...)
		inner = appendText(inner, w.name)
		inner = append(inner, ',')
		inner = appendText(inner, w.name)
		inner = append(inner, `:{"id":`...)
		inner = appendText(inner, id)
		inner = append(inner, `,"title":`...)
		inner = appendText(inner, title)
		if description != "" {
			inner = append(inner, `,"description":`...)
			inner = appendText(inner, description)
		}
		w.kind, w.name, w.content = "interactive", "interactive", append(inner, "}}"...)
	}
	for _, b := range sent.Interactive.Action.Buttons {
		if w.name == "button_reply" && b.Reply.ID == id {
			reply(b.Reply.Title, "")
			return nil
		}
	}
	for _, section := range sent.Interactive.Action.Sections {
		for _, r := range section.Rows {
			if w.name == "list_reply" && r.ID == id {
				reply(r.Title, r.Description)
				return nil
			}
		}
	}
	return fmt.Errorf("that message has no %s of this id", w.name)
}

// Read lets the user read a message of the business, for phones that are Unread.
func (s *Simulator) Read(num, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[number(num)]
	if u == nil {
		return errors.New("reading as user: no such user")
	}
	m := u.find(id)
	if m == nil || m.FromUser {
		return errors.New("reading as user: no such message")
	}
	if sess := s.sessions[m.Session]; sess != nil {
		s.readStep(sess, m)
	}
	return nil
}
