package simulator

import (
	"strconv"
	"time"
)

// violate tells the bridge which rule it broke, and closes.
func (c *conn) violate(code int, rule, detail string) {
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	c.violateLocked(code, rule, detail)
}

func (c *conn) violateLocked(code int, rule, detail string) {
	c.sim.violateLocked(c.sess.cfg.ID, rule, detail)
	c.shut(code, rule+": "+detail)
}

// handle takes one frame.
func (c *conn) handle(b []byte) {
	f, err := parseFrame(b)
	if err != nil {
		c.violate(1008, "frame", err.Error())
		return
	}
	switch f.kind {
	case "whatsapp.send":
		c.handleSend(f)
	case "whatsapp.ack":
		sequence, err := ackSequence(f.data)
		if err != nil {
			c.violate(1008, "ack", err.Error())
			return
		}
		c.handleAck(sequence)
	case "whatsapp.token":
		value, err := newToken(f.data)
		if err != nil {
			c.violate(1008, "token", err.Error())
			return
		}
		c.handleToken(value)
	default:
		c.violate(1008, "frame", "type is not whatsapp.send, whatsapp.ack or whatsapp.token")
	}
}

func (c *conn) handleAck(sequence uint64) {
	s := c.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &c.sess.log
	switch {
	case c.closing:
	case sequence >= c.cursor:
		c.violateLocked(1008, "ack", "acknowledges an event that was not sent on this connection")
	case sequence < l.acked:
		c.violateLocked(1008, "ack", "goes back behind an earlier ack")
	case c.withheld != 0 && sequence >= c.withheld:
		c.violateLocked(1008, "ack", "acknowledges across a gap in the sequence")
	default:
		l.ack(sequence)
		s.stats.Acks++
		s.state.ack(c.sess, sequence)
		c.sess.drained()
	}
}

func (c *conn) handleToken(value string) {
	s := c.sim
	tok, err := s.tokens.lookup(value)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.closing:
	case err == errTokenRefresh: //nolint:errorlint // lookup returns it bare
		c.violateLocked(4401, "token-type", err.Error())
	case err != nil:
		c.shut(4401, err.Error())
	case !s.tokens.opens(tok.client, c.sess.cfg.ID):
		c.shut(4403, "this client may not open this session")
	default:
		c.token = tok
		s.stats.Renewals++
		c.ready()
		c.watchToken()
		s.tell(Notice{Kind: "token", Session: c.sess.cfg.ID})
	}
}

// handleSend takes a send: dedupe first, then everything that can refuse it.
func (c *conn) handleSend(f frame) {
	body, invalid := parseBody(f.data)
	s, sess := c.sim, c.sess
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closing {
		return
	}
	s.stats.Sends++
	if len(f.id) > 128 {
		c.violateLocked(1008, "send-id", "id is longer than 128 characters")
		return
	}
	if c.unanswered >= sess.cfg.Window {
		c.violateLocked(1008, "window", "more than "+strconv.Itoa(sess.cfg.Window)+" sends are unanswered")
		return
	}
	c.unanswered++
	if known := sess.sent[f.id]; known != nil && !sess.cfg.NoDedupe {
		if invalid == nil && body.number != known.Number {
			s.violateLocked(sess.cfg.ID, "send-id", "one id for two recipients")
		}
		sess.repeats = append(sess.repeats, Repeat{
			Ref: f.id, ID: known.ID, At: time.Now(), Answered: known.Answered, Reconnected: known.connection != c.number,
		})
		s.stats.Repeats++
		c.deliverResult(known, true, nil)
		return
	}
	peer := ""
	if invalid == nil {
		peer = body.number
	}
	if refusal := c.refusal(body, invalid, peer); refusal != nil {
		s.stats.Refused++
		c.result(f.id, "", false, refusal, nil)
		return
	}
	if body.verb() {
		s.markRead(body)
		c.result(f.id, "", false, nil, nil)
		return
	}
	m, refusal := s.accept(sess, body, f.data, f.id, f.traceparent)
	if refusal != nil {
		s.stats.Refused++
		c.result(f.id, "", false, refusal, nil)
		return
	}
	m.connection = c.number
	c.deliverResult(m, false, func() { s.start(sess, m) })
}

// refusal is what speaks against a send, if anything does.
func (c *conn) refusal(body *sendBody, invalid *apiError, peer string) *apiError {
	if !c.token.allows(ScopeMessaging) {
		return newAPIError(10, "The token lacks "+ScopeMessaging)
	}
	if f := c.sim.faultHit(FaultRefuse, c.sess.cfg.ID, peer); f != nil {
		e := newAPIError(f.Code, "Refused on demand")
		e.RetryAfter = int(time.Duration(f.RetryAfter).Seconds())
		return e
	}
	if invalid == nil && !body.verb() && body.number == c.sess.cfg.DisplayPhoneNumber {
		return newAPIError(131021, "The recipient is the sender")
	}
	return invalid
}

// deliverResult answers an accepted send as the faults allow; then runs next,
// so that a result comes before its statuses.
func (c *conn) deliverResult(m *Message, duplicate bool, next func()) {
	s, id := c.sim, c.sess.cfg.ID
	if next == nil {
		next = func() {}
	}
	switch {
	case s.faultHit(FaultAcceptAndCut, id, m.Number) != nil:
		c.drop()
	case s.faultHit(FaultDropAnswer, id, m.Number) != nil:
	default:
		if f := s.faultHit(FaultDelayAnswer, id, m.Number); f != nil {
			s.clock.after(time.Duration(f.Delay), func() {
				c.result(m.Ref, m.ID, duplicate, nil, m)
				next()
			})
			return
		}
		c.result(m.Ref, m.ID, duplicate, nil, m)
	}
	next()
}

// result queues whatsapp.result. Without an id it answers a verb.
func (c *conn) result(ref, id string, duplicate bool, e *apiError, of *Message) {
	if c.closing {
		return
	}
	data := append(make([]byte, 0, 200), `{"ref":`...)
	data = appendText(data, ref)
	if e != nil {
		data = append(data, `,"error":`...)
		data = e.append(data, c.sim.wamids.boot)
		if e.RetryAfter > 0 {
			data = append(data, `,"retry_after":`...)
			data = strconv.AppendInt(data, int64(e.RetryAfter), 10)
		}
	} else {
		data = append(data, `,"messages":[`...)
		if id != "" {
			data = append(data, `{"id":"`...)
			data = append(data, id...)
			data = append(data, `"}`...)
		}
		data = append(data, `],"duplicate":`...)
		data = strconv.AppendBool(data, duplicate)
	}
	c.answer("whatsapp.result", append(data, '}'), of)
}
