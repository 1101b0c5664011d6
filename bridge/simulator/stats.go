package simulator

import "time"

// Stats counts since the start.
type Stats struct {
	Sends      int `json:"sends"`    // whatsapp.send frames and Graph requests
	Accepted   int `json:"accepted"` // taken for delivery
	Refused    int `json:"refused"`  // answered with an error
	Repeats    int `json:"repeats"`  // known already, not delivered again
	Events     int `json:"events"`   // numbered for Chat API sessions
	Acks       int `json:"acks"`
	Violations int `json:"violations"`
	Faults     int `json:"faults"` // that struck

	Connections   int `json:"connections"` // ever
	Connected     int `json:"connected"`   // now
	Renewals      int `json:"renewals"`    // tokens handed over on a live connection
	Unauthorized  int `json:"unauthorized"`
	TokenRequests int `json:"token_requests"`
	TokenRefusals int `json:"token_refusals"`

	WebhookPosts    int `json:"webhook_posts"`
	WebhookFailures int `json:"webhook_failures"`

	// Sessions says where each one stands.
	Sessions map[string]SessionStats `json:"sessions"`
}

// SessionStats is where a session stands.
type SessionStats struct {
	Epoch      string `json:"epoch"`
	Connected  bool   `json:"connected"`
	Connection int    `json:"connection"` // how many there were
	Unanswered int    `json:"unanswered"` // sends on this connection
	Sequence   uint64 `json:"sequence"`   // the last one given
	Acked      uint64 `json:"acked"`
	Unacked    int    `json:"unacked"` // events, or updates not yet taken by the webhook
	Accepted   int    `json:"accepted"`
	Repeats    int    `json:"repeats"`
}

// Stats counts.
func (s *Simulator) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Sessions = make(map[string]SessionStats, len(s.sessions))
	for id, sess := range s.sessions {
		one := SessionStats{
			Epoch: sess.epoch, Connection: sess.conns, Sequence: sess.log.last, Acked: sess.log.acked,
			Unacked: len(sess.log.events) + sess.posting, Accepted: len(sess.order) + sess.dropped, Repeats: len(sess.repeats),
		}
		if sess.conn != nil {
			one.Connected, one.Unanswered = true, sess.conn.unanswered
		}
		st.Sessions[id] = one
	}
	return st
}

// Violation is a rule that a bridge broke.
type Violation struct {
	At      time.Time `json:"at"`
	Session string    `json:"session,omitempty"`
	Rule    string    `json:"rule"`
	Detail  string    `json:"detail"`
}

// maxViolations is how many are kept; Stats.Violations counts all.
const maxViolations = 1000

func (s *Simulator) violate(session, rule, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violateLocked(session, rule, detail)
}

func (s *Simulator) violateLocked(session, rule, detail string) {
	s.stats.Violations++
	v := Violation{At: time.Now(), Session: session, Rule: rule, Detail: detail}
	if len(s.broken) < maxViolations {
		s.broken = append(s.broken, v)
	}
	s.log.Warn("the bridge broke a rule", "session", session, "rule", rule, "detail", detail)
	s.tell(Notice{Kind: "violation", Session: session, Text: rule + ": " + detail})
}

// Violations lists what bridges broke, the first 1,000.
func (s *Simulator) Violations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Violation(nil), s.broken...)
}
