package simulator

import (
	"strconv"
	"strings"
	"time"
)

// accept takes a valid message for delivery: it has an id from here on and is
// remembered. The statuses are the caller's to start. Call it with mu held.
func (s *Simulator) accept(sess *session, body *sendBody, raw []byte, ref, traceparent string) (*Message, *apiError) {
	now := time.Now()
	if s.cfg.RefuseUnknown && s.users[body.number] == nil {
		return nil, newAPIError(131026, "Message undeliverable")
	}
	u := s.user(body.number)
	refusal := u.permits(sess.cfg.ID, body, now)
	if refusal != nil && !u.LateErrors {
		return nil, refusal
	}
	m := &Message{
		ID: s.wamids.next(body.number, false), Session: sess.cfg.ID, Number: body.number, Type: body.kind,
		Body: append([]byte(nil), raw...), Ref: ref, TraceParent: traceparent, Status: "accepted", At: now,
		Callback: body.callback, kind: body.recipientType, participants: u.Participants,
	}
	if refusal != nil {
		m.Error = refusal.Code
	}
	s.remember(sess, m)
	u.keep(m, s.cfg.TranscriptLimit)
	s.state.sent(m)
	s.stats.Accepted++
	s.tell(Notice{Kind: "accepted", Session: sess.cfg.ID, Number: m.Number, Message: m})
	return m, nil
}

func (s *Simulator) remember(sess *session, m *Message) {
	if m.Ref != "" {
		sess.sent[m.Ref] = m
	}
	sess.byID[m.ID] = m
	sess.order = append(sess.order, m)
	sess.forget(m.At)
}

// start sends a message on its way: sent, delivered, read, as far as the user
// lets it. Call it with mu held.
func (s *Simulator) start(sess *session, m *Message) {
	if sess.cfg.NoStatuses {
		m.Status, m.Delivered = "delivered", m.At
		s.tell(Notice{Kind: "status", Session: sess.cfg.ID, Number: m.Number, Message: m})
		return
	}
	switch m.Status {
	case "accepted":
		s.clock.after(time.Duration(s.cfg.Delays.Sent), func() { s.sentStep(sess, m) })
	case "sent":
		s.clock.after(time.Duration(s.cfg.Delays.Delivered), func() { s.deliveredStep(sess, m) })
	case "delivered":
		if s.user(m.Number).Unread {
			return
		}
		s.clock.after(time.Duration(s.cfg.Delays.Read), func() { s.readStep(sess, m) })
	}
}

func (s *Simulator) sentStep(sess *session, m *Message) {
	if m.Error != 0 {
		s.fail(sess, m, newAPIError(m.Error, "The user's own choice"))
		return
	}
	m.Status, m.Sent = "sent", time.Now()
	if m.Type == "reaction" { // of which only sent is ever told
		m.Delivered = m.Sent
		s.report(sess, m)
		return
	}
	s.report(sess, m)
	s.start(sess, m)
}

func (s *Simulator) deliveredStep(sess *session, m *Message) {
	u := s.user(m.Number)
	switch {
	case u.Level == LevelBlocked:
		return // hidden from the business
	case u.Offline:
		u.parked = append(u.parked, func() { s.deliveredStep(sess, m) })
		return
	}
	m.Status, m.Delivered = "delivered", time.Now()
	s.report(sess, m)
	s.start(sess, m)
}

func (s *Simulator) readStep(sess *session, m *Message) {
	if m.Status != "delivered" {
		return
	}
	m.Status, m.Read = "read", time.Now()
	s.report(sess, m)
}

// fail ends a message with a failed status.
func (s *Simulator) fail(sess *session, m *Message, e *apiError) {
	m.Status, m.Error = "failed", e.Code
	s.emitStatus(sess, m, e, "")
}

// report tells the business of the message's status; of a group's message,
// once for every participant.
func (s *Simulator) report(sess *session, m *Message) {
	if len(m.participants) == 0 || m.Status == "sent" {
		s.emitStatus(sess, m, nil, "")
		return
	}
	for _, p := range m.participants {
		s.emitStatus(sess, m, nil, p)
	}
}

func (s *Simulator) emitStatus(sess *session, m *Message, e *apiError, participant string) {
	s.emit(sess, occurrence{kind: "status", name: m.Status, peer: m.Number, inner: appendStatusObject(nil, m, e, participant), traceparent: m.TraceParent})
	s.state.progress(m)
	s.tell(Notice{Kind: "status", Session: sess.cfg.ID, Number: m.Number, Message: m})
}

func appendStatusObject(dst []byte, m *Message, e *apiError, participant string) []byte {
	if dst == nil {
		dst = make([]byte, 0, 320+len(m.Callback))
	}
	dst = append(dst, `{"id":"`...)
	dst = append(dst, m.ID...)
	dst = append(dst, `","status":"`...)
	dst = append(dst, m.Status...)
	dst = append(dst, `","timestamp":"`...)
	dst = strconv.AppendInt(dst, time.Now().Unix(), 10)
	if isBSUID(m.Number) {
		dst = append(dst, `","recipient_user_id":`...)
	} else {
		dst = append(dst, `","recipient_id":`...)
	}
	dst = appendText(dst, m.Number)
	if m.kind == "group" {
		dst = append(dst, `,"recipient_type":"group"`...)
	}
	if participant != "" {
		dst = append(dst, `,"recipient_participant_id":`...)
		dst = appendText(dst, participant)
	}
	if m.Callback != "" {
		dst = append(dst, `,"biz_opaque_callback_data":`...)
		dst = appendText(dst, m.Callback)
	}
	if e != nil {
		dst = append(dst, `,"errors":[`...)
		dst = e.appendStatus(dst)
		dst = append(dst, ']')
	} else if m.Status == "sent" {
		dst = append(dst, `,"pricing":{"billable":true,"pricing_model":"PMP","category":"service","type":"regular"}`...)
	}
	return append(dst, '}')
}

// isBSUID: two capitals, a dot, letters, digits and dots.
func isBSUID(s string) bool {
	return len(s) > 3 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z' && s[2] == '.' && !strings.ContainsAny(s, "@ +-")
}

// markRead carries out the verbs: a user's message is read, or answered soon.
// Call it with mu held.
func (s *Simulator) markRead(body *sendBody) {
	u := s.users[wamidNumber(body.messageID)]
	if u == nil {
		return
	}
	if m := u.find(body.messageID); m != nil && m.FromUser {
		m.Status, m.Read, m.Typing = "read", time.Now(), body.kind == "typing"
		s.tell(Notice{Kind: "read", Session: m.Session, Number: m.Number, Message: m})
	}
}
