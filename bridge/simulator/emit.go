package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Emit puts an event of any kind on a Chat API session. Data goes into the
// frame byte for byte, whatever it is; kind is the type without "whatsapp.",
// such as "message.text". It returns the event's sequence.
func (s *Simulator) Emit(session, kind, peer string, data []byte) (uint64, error) {
	group, name, ok := strings.Cut(kind, ".")
	if !ok || (group != "message" && group != "status" && group != "event") {
		return 0, fmt.Errorf("emitting: kind %q is not message.…, status.… or event.…", kind)
	}
	s.mu.Lock()
	sess := s.sessions[session]
	if sess == nil || sess.cfg.Webhook != nil {
		s.mu.Unlock()
		return 0, fmt.Errorf("emitting: no Chat API session %q", session)
	}
	sequence := s.emit(sess, occurrence{kind: group, name: name, peer: peer, data: bytes.Clone(data)})
	s.mu.Unlock()
	s.flush()
	return sequence, nil
}

type envelope struct {
	Entry []struct {
		Changes []struct {
			Field string
			Value json.RawMessage
		}
	}
}

type webhookValue struct {
	Metadata json.RawMessage
	Contacts []json.RawMessage
	Messages []json.RawMessage
	Statuses []json.RawMessage
	Errors   json.RawMessage
}

// EmitWebhook takes a Cloud API webhook body apart and puts each message,
// status and field on a Chat API session, inner objects byte for byte. It
// returns how many events that made. To a Cloud API session the body is posted
// as it is, signed.
func (s *Simulator) EmitWebhook(session string, body []byte) (int, error) {
	s.mu.Lock()
	if sess := s.sessions[session]; sess != nil && sess.cfg.Webhook != nil {
		s.hooks.postRaw(sess, bytes.Clone(body))
		s.mu.Unlock()
		return 1, nil
	}
	s.mu.Unlock()
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return 0, fmt.Errorf("taking a webhook apart: %w", err)
	}
	n := 0
	put := func(kind, peer string, data []byte) error {
		n++
		_, err := s.Emit(session, kind, peer, data)
		return err
	}
	for _, entry := range e.Entry {
		for _, change := range entry.Changes {
			var v webhookValue
			if change.Field == "messages" {
				if err := json.Unmarshal(change.Value, &v); err != nil {
					return n, fmt.Errorf("taking a webhook apart: %w", err)
				}
			}
			if len(v.Messages)+len(v.Statuses) == 0 {
				data := fmt.Appendf(nil, `{"field":%q,"value":%s}`, change.Field, change.Value)
				if err := put("event."+change.Field, "", data); err != nil {
					return n, err
				}
			}
			for i, m := range v.Messages {
				kind, peer := identify(m, "type", "from", "from_user_id")
				data := append([]byte(`{"message":`), m...)
				if c := contactFor(v.Contacts, i); c != nil {
					data = append(append(data, `,"contact":`...), c...)
				}
				if v.Metadata != nil {
					data = append(append(data, `,"metadata":`...), v.Metadata...)
				}
				if err := put("message."+kind, peer, append(data, '}')); err != nil {
					return n, err
				}
			}
			for _, status := range v.Statuses {
				kind, peer := identify(status, "status", "recipient_id", "recipient_user_id")
				if err := put("status."+kind, peer, status); err != nil {
					return n, err
				}
			}
		}
	}
	return n, nil
}

func contactFor(contacts []json.RawMessage, i int) json.RawMessage {
	switch {
	case i < len(contacts):
		return contacts[i]
	case len(contacts) > 0:
		return contacts[0]
	}
	return nil
}

// identify reads the name of an object and the first peer that it has.
func identify(raw []byte, nameKey string, peerKeys ...string) (name, peer string) {
	peers := map[string]string{}
	_ = walkObject(raw, func(key, value []byte) error { // encoding/json read it before
		if string(key) == nameKey {
			name = text(value)
		}
		peers[string(key)] = text(value)
		return nil
	})
	for _, key := range peerKeys {
		if peer == "" {
			peer = peers[key]
		}
	}
	return name, peer
}

// Load is many messages from many users.
type Load struct {
	Session string `json:"session"`
	// Name tells loads apart: message i of a load has the same id and text
	// whenever it is asked for, and is written once.
	Name string `json:"name"`
	// From is the first index, Count how many, over so many Conversations
	// (message i is from user i mod Conversations).
	From          int `json:"from"`
	Count         int `json:"count"`
	Conversations int `json:"conversations"`
	// Size of the message object, at least, in bytes.
	Size int `json:"size"`
	// Rate per second; 0 is as fast as the bridge acknowledges.
	Rate int `json:"rate,omitempty"`
	// Unacked is how many events may wait to be acknowledged; 0 is 16,384.
	Unacked int `json:"unacked,omitempty"`
}

// Inject writes a load and returns how many messages of it were new. It blocks
// until all are in the session's log (not until they are acknowledged), ctx
// ends or the simulator is closed. The text of message i is "<name>:<i>:<n>",
// n counting within its conversation, and padding after a space.
func (s *Simulator) Inject(ctx context.Context, l Load) (int, error) {
	if l.Conversations <= 0 {
		l.Conversations = 1
	}
	if l.Unacked <= 0 {
		l.Unacked = 16384
	}
	padding := strings.Repeat("x", max(0, l.Size-230))
	started := time.Now()
	done := 0
	for next := l.From; next < l.From+l.Count; {
		end := min(next+batch, l.From+l.Count)
		if l.Rate > 0 {
			// Behind the clock it catches up; ahead it waits.
			due := started.Add(time.Duration(next-l.From) * time.Second / time.Duration(l.Rate))
			if err := s.sleepUntil(ctx, due); err != nil {
				return done, err
			}
			end = min(next+max(1, l.Rate/200), end)
		}
		n, wait, err := s.injectBatch(l, next, end, padding)
		if err != nil {
			return done, err
		}
		done += n
		s.flush()
		if wait == nil {
			next = end
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return done, fmt.Errorf("injecting: %w", ctx.Err())
		case <-s.stop:
			return done, errors.New("injecting: simulator closed")
		}
	}
	return done, nil
}

func (s *Simulator) sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("injecting: %w", ctx.Err())
	case <-s.stop:
		return errors.New("injecting: simulator closed")
	}
}

// injectBatch writes messages from to end, or returns what to wait for where
// there is no room.
func (s *Simulator) injectBatch(l Load, from, end int, padding string) (n int, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[l.Session]
	if sess == nil {
		return 0, nil, fmt.Errorf("injecting: no session %q", l.Session)
	}
	if len(sess.log.events)+sess.posting > l.Unacked {
		if sess.room == nil {
			sess.room = make(chan struct{})
		}
		return 0, sess.room, nil
	}
	now := time.Now().Unix()
	for i := max(from, sess.loads[l.Name]); i < end; i++ {
		num := loadNumber(i % l.Conversations)
		inner := make([]byte, 0, 256+len(padding))
		inner = append(inner, `{"from":"`...)
		inner = append(inner, num...)
		inner = append(inner, `","id":"`...)
		inner = append(inner, makeWamid(num, "L"+l.Name+strconv.Itoa(i), true)...)
		inner = append(inner, `","timestamp":"`...)
		inner = strconv.AppendInt(inner, now, 10)
		inner = append(inner, `","type":"text","text":{"body":`...)
		inner = appendText(inner, fmt.Sprintf("%s:%d:%d %s", l.Name, i, i/l.Conversations, padding))
		inner = append(inner, "}}"...)
		contact := append([]byte(`{"profile":{"name":"Load"},"wa_id":"`), num...)
		s.emit(sess, occurrence{kind: "message", name: "text", peer: num, inner: inner, contact: append(contact, `"}`...)})
		n++
	}
	if n > 0 {
		sess.loads[l.Name] = end
		s.state.load(sess, l.Name, end)
	}
	return n, nil, nil
}

// loadNumber is the number of a load's user.
func loadNumber(i int) string { return fmt.Sprintf("1556%07d", i) }
