package simulator

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level is what a user lets the business do.
type Level string

// The levels. LevelWindow takes free-form messages only within 24 hours of the
// user's own last one (131047 otherwise); LevelNoMarketing refuses templates of
// the category marketing (131050); LevelBlocked blocked the business: messages
// are accepted and sent, and never arrive.
const (
	LevelAll         Level = "all"
	LevelWindow      Level = "window"
	LevelNoMarketing Level = "no_marketing"
	LevelBlocked     Level = "blocked"
)

// User is the settings of one phone.
type User struct {
	// Number in digits; or a BSUID (US.…); or any other string: a group's id.
	Number string `json:"number"`
	Name   string `json:"name,omitempty"`
	Level  Level  `json:"level,omitempty"`
	// LateErrors answers accepted first and tells of 131047 and 131050 by a
	// failed status.
	LateErrors bool `json:"late_errors,omitempty"`
	// Offline phones get nothing until they are online again.
	Offline bool `json:"offline,omitempty"`
	// Unread phones show no second blue tick until Read is called.
	Unread bool `json:"unread,omitempty"`
	// Participants make it a group: each has statuses of its own.
	Participants []string `json:"participants,omitempty"`
}

// Phone is a user's phone: settings and what is on the screen.
type Phone struct {
	User
	Messages []Message `json:"messages"`
}

type user struct {
	User
	wrote    map[string]time.Time // by session: when the user last wrote
	messages []*Message           // newest last, bounded
	parked   []func()             // steps that wait for the phone to come online
}

// number brings a recipient into the form that users are kept by.
func number(to string) string {
	digits := make([]byte, 0, 16)
	for i, c := range []byte(to) {
		switch {
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		case c == '+' && i == 0, c == ' ', c == '-', c == '(', c == ')':
		default:
			return to // a BSUID or a group
		}
	}
	return string(digits)
}

// SetUser makes a phone, or changes its settings.
func (s *Simulator) SetUser(u User) error {
	u.Number = number(u.Number)
	if u.Level == "" {
		u.Level = LevelAll
	}
	if u.Number == "" {
		return fmt.Errorf("setting user: number is missing")
	}
	if !slices.Contains([]Level{LevelAll, LevelWindow, LevelNoMarketing, LevelBlocked}, u.Level) {
		return fmt.Errorf("setting user: level %q is not all, window, no_marketing or blocked", u.Level)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.user(u.Number)
	if u.Name == "" {
		u.Name = known.Name
	}
	known.User = u
	s.state.user(u)
	if !u.Offline {
		parked := known.parked
		known.parked = nil
		for _, step := range parked {
			step()
		}
	}
	s.tell(Notice{Kind: "user", Number: u.Number})
	return nil
}

// user finds a phone or makes one. Call it with mu held.
func (s *Simulator) user(number string) *user {
	u := s.users[number]
	if u == nil {
		u = &user{User: User{Number: number, Name: "User " + number[max(0, len(number)-4):], Level: LevelAll}, wrote: map[string]time.Time{}}
		s.users[number] = u
	}
	return u
}

// Phone shows a user's phone; false where there is none.
func (s *Simulator) Phone(num string) (Phone, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[number(num)]
	if u == nil {
		return Phone{}, false
	}
	p := Phone{User: u.User, Messages: make([]Message, 0, len(u.messages))}
	for _, m := range u.messages {
		if m.FromUser || !m.Delivered.IsZero() {
			p.Messages = append(p.Messages, *m)
		}
	}
	return p, true
}

// Users lists the settings of every phone, by number.
func (s *Simulator) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]User, 0, len(s.users))
	for _, u := range s.users {
		list = append(list, u.User)
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(a.Number, b.Number) })
	return list
}

// keep puts a message on the phone's list and drops the oldest.
func (u *user) keep(m *Message, limit int) {
	u.messages = append(u.messages, m)
	if over := len(u.messages) - limit; over > 0 {
		for _, old := range u.messages[:over] {
			old.Body = nil
		}
		u.messages = slices.Delete(u.messages, 0, over)
	}
}

// find looks a message up on the phone.
func (u *user) find(id string) *Message {
	for _, m := range slices.Backward(u.messages) {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// permits says what the user's choices make of a message.
func (u *user) permits(session string, body *sendBody, now time.Time) *apiError {
	switch {
	case u.Level == LevelWindow && body.kind != "template" && now.Sub(u.wrote[session]) > 24*time.Hour:
		return newAPIError(131047, "More than 24 hours have passed since the recipient last replied")
	case u.Level == LevelNoMarketing && body.kind == "template" && body.category == "marketing":
		return newAPIError(131050, "The recipient has chosen to stop marketing messages from this business")
	}
	return nil
}
