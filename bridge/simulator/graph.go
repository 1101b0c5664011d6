package simulator

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"
)

var graphPath = regexp.MustCompile(`^/v[0-9]+\.[0-9]+/`)

// graphRoutes is the part of Graph that a business needs: messages, media, the
// number, tokens.
func (s *Simulator) graphRoutes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, fn func(w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !s.httpFault(w, r, FaultGraph, s.sessionOf(r.PathValue("id"))) {
				s.usage(w)
				fn(w, r)
			}
		})
	}
	handle("POST /{version}/{id}/messages", s.graphMessages)
	handle("POST /{version}/{id}/media", s.graphUpload)
	handle("GET /{version}/{id}", s.graphObject)
	handle("DELETE /{version}/{id}", s.graphDelete)
	handle("POST /{version}/{id}/register", s.graphRegister)
	handle("POST /{version}/{id}/subscribed_apps", s.graphSubscribe)
	handle("GET /{version}/{id}/subscribed_apps", s.graphSubscribe)
	handle("DELETE /{version}/{id}/subscribed_apps", s.graphSubscribe)
	handle("GET /{version}/debug_token", s.graphDebugToken)
	handle("GET /{version}/oauth/access_token", s.graphAccessToken)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		e := newAPIError(100, "Unsupported request")
		e.Subcode = 33
		s.graphError(w, e)
	})
	return mux
}

func (s *Simulator) graphError(w http.ResponseWriter, e *apiError) {
	w.Header().Set("Content-Type", "application/json")
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `OAuth "Facebook Platform" "invalid_token"`)
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(append(e.append([]byte(`{"error":`), s.wamids.boot), '}')) //nolint:gosec // JSON by its content type; the client may have left
}

// usage adds Meta's usage headers where a fault asks for them.
func (s *Simulator) usage(w http.ResponseWriter) {
	s.mu.Lock()
	f := s.faultHit(FaultUsage, "", "")
	s.mu.Unlock()
	if f == nil {
		return
	}
	w.Header().Set("X-App-Usage", fmt.Sprintf(`{"call_count":%d,"total_cputime":1,"total_time":1}`, f.Code))
	w.Header().Set("X-Business-Use-Case-Usage", fmt.Sprintf(
		`{"770010020030040":[{"type":"whatsapp","call_count":%d,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":%d}]}`,
		f.Code, int(time.Duration(f.Delay).Minutes())))
}

// graphToken checks the bearer token and appsecret_proof.
func (s *Simulator) graphToken(r *http.Request) (*token, *apiError) {
	value := bearer(r)
	if value == "" {
		value = r.URL.Query().Get("access_token")
	}
	tok, err := s.tokens.lookup(value)
	if err != nil {
		e := newAPIError(190, err.Error())
		if errors.Is(err, errTokenExpired) {
			e.Subcode = 463
		}
		return nil, e
	}
	if proof := r.URL.Query().Get("appsecret_proof"); proof != "" {
		message := value
		if at := r.URL.Query().Get("appsecret_time"); at != "" {
			unix, err := strconv.ParseInt(at, 10, 64)
			if err != nil || time.Since(time.Unix(unix, 0)).Abs() > 5*time.Minute {
				return nil, newAPIError(100, "Invalid appsecret_time")
			}
			message += "|" + at
		}
		if subtle.ConstantTimeCompare([]byte(proof), []byte(sign(s.appSecret(tok.client), []byte(message)))) != 1 {
			return nil, newAPIError(100, "Invalid appsecret_proof provided in the API argument")
		}
	}
	return tok, nil
}

// appSecret finds the secret of an app.
func (s *Simulator) appSecret(app string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		if hook := sess.cfg.Webhook; hook != nil && hook.AppID == app {
			return hook.AppSecret
		}
	}
	return ""
}

// graphSession finds the session of a phone number id (or WABA id) and checks
// that the token may use it.
func (s *Simulator) graphSession(r *http.Request, scope string) (*session, *apiError) {
	tok, bad := s.graphToken(r)
	if bad != nil {
		return nil, bad
	}
	id := r.PathValue("id")
	s.mu.Lock()
	defer s.mu.Unlock()
	var found *session
	for _, sess := range s.sessions {
		if sess.cfg.PhoneNumberID == id || sess.cfg.WABAID == id {
			found = sess
		}
	}
	switch {
	case found == nil:
		e := newAPIError(100, "Object with ID '"+id+"' does not exist")
		e.Subcode = 33
		return nil, e
	case !s.maySee(tok, found):
		return nil, newAPIError(200, "The token has no access to this number")
	case !tok.allows(scope):
		return nil, newAPIError(10, "The token lacks "+scope)
	}
	return found, nil
}

func (s *Simulator) maySee(tok *token, sess *session) bool {
	return (sess.cfg.Webhook != nil && sess.cfg.Webhook.AppID == tok.client) || s.tokens.opens(tok.client, sess.cfg.ID)
}

// sessionOf names the session of a phone number; "" where there is none.
func (s *Simulator) sessionOf(phoneNumberID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, sess := range s.sessions {
		if sess.cfg.PhoneNumberID == phoneNumberID {
			return id
		}
	}
	return ""
}

// graphMessages takes a send. Nothing is deduplicated: Graph has no key for it.
func (s *Simulator) graphMessages(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		s.graphError(w, newAPIError(100, "The body cannot be read"))
		return
	}
	sess, bad := s.graphSession(r, ScopeMessaging)
	if bad != nil {
		s.graphError(w, bad)
		return
	}
	if !utf8.Valid(raw) {
		s.graphError(w, newAPIError(100, "The body is not UTF-8"))
		return
	}
	m, body, how, bad := s.graphAccept(sess, raw, r.Header.Get("traceparent"))
	s.flush()
	switch {
	case bad != nil:
		s.graphError(w, bad)
	case body.verb():
		writeJSON(w, http.StatusOK, map[string]bool{"success": true})
	case how.cut:
		panic(http.ErrAbortHandler) // how net/http drops a connection without an answer
	default:
		s.pauseRequest(r, how.delay)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(graphAnswer(m, body, raw)) //nolint:gosec // JSON by its content type; the client may have left
		s.answered([]*Message{m})
	}
}

// answering says what faults make of an answer.
type answering struct {
	cut   bool
	delay time.Duration
}

func (s *Simulator) graphAccept(sess *session, raw []byte, traceparent string) (*Message, *sendBody, answering, *apiError) {
	body, invalid := parseBody(raw)
	peer := ""
	if invalid == nil {
		peer = body.number
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := sess.cfg.ID
	s.stats.Sends++
	var how answering
	if f := s.faultHit(FaultRefuse, id, peer); f != nil {
		invalid = newAPIError(f.Code, "Refused on demand")
	} else if sess.cfg.Webhook != nil && !sess.hooks.register {
		invalid = newAPIError(133010, "The phone number is not registered")
	}
	if invalid != nil {
		s.stats.Refused++
		return nil, body, how, invalid
	}
	if body.verb() {
		s.markRead(body)
		return nil, body, how, nil
	}
	if !validTraceParent(traceparent) {
		traceparent = ""
	}
	m, refusal := s.accept(sess, body, raw, "", traceparent)
	if refusal != nil {
		s.stats.Refused++
		return nil, body, how, refusal
	}
	s.start(sess, m)
	how.cut = s.faultHit(FaultAcceptAndCut, id, peer) != nil || s.faultHit(FaultDropAnswer, id, peer) != nil
	if f := s.faultHit(FaultDelayAnswer, id, peer); f != nil {
		how.delay = time.Duration(f.Delay)
	}
	if hook := sess.cfg.Webhook; hook != nil && chance(hook.Early) || s.faultHit(FaultEarly, id, peer) != nil {
		how.delay = max(how.delay, 50*time.Millisecond) // its statuses are out by then
	}
	return m, body, how, nil
}

func (s *Simulator) pauseRequest(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	case <-s.stop:
	}
}

func graphAnswer(m *Message, body *sendBody, raw []byte) []byte {
	var sent struct{ To, Recipient string }
	_ = json.Unmarshal(raw, &sent) // it was read before
	input, key := sent.To, "wa_id"
	if input == "" {
		input = sent.Recipient
	}
	if isBSUID(m.Number) {
		key = "user_id"
	}
	b := append([]byte(nil), `{"messaging_product":"whatsapp","contacts":[{"input":`...)
	b = appendText(b, input)
	b = fmt.Appendf(b, `,%q:`, key)
	b = appendText(b, m.Number)
	b = append(b, `}],"messages":[{"id":`...)
	b = appendText(b, m.ID)
	if body.kind == "template" {
		b = append(b, `,"message_status":"accepted"`...)
	}
	return append(b, "}]}"...)
}
