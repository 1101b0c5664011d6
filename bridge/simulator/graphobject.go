package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// graphObject answers a phone number's fields, or a media object.
func (s *Simulator) graphObject(w http.ResponseWriter, r *http.Request) {
	if m := s.findMedia(r.PathValue("id")); m != nil {
		s.graphMedia(w, r, m)
		return
	}
	sess, bad := s.graphSession(r, ScopeManagement)
	if bad != nil {
		s.graphError(w, bad)
		return
	}
	s.mu.Lock()
	status := "VERIFIED"
	if sess.cfg.Webhook != nil && !sess.hooks.register {
		status = "NOT_VERIFIED"
	}
	cfg := sess.cfg
	s.mu.Unlock()
	all := map[string]any{
		"verified_name": "Simulated " + cfg.ID, "display_phone_number": "+" + cfg.DisplayPhoneNumber, "quality_rating": "GREEN",
		"platform_type": "CLOUD_API", "throughput": map[string]string{"level": "STANDARD"}, "code_verification_status": status,
		"status": "CONNECTED", "messaging_limit_tier": "TIER_UNLIMITED", "name_status": "APPROVED", "account_mode": "LIVE",
	}
	answer := map[string]any{"id": r.PathValue("id")}
	if fields := r.URL.Query().Get("fields"); fields != "" {
		for f := range strings.SplitSeq(fields, ",") {
			if v, ok := all[f]; ok {
				answer[f] = v
			}
		}
	} else {
		for _, f := range []string{"verified_name", "display_phone_number", "quality_rating", "code_verification_status", "platform_type", "throughput"} {
			answer[f] = all[f]
		}
	}
	writeJSON(w, http.StatusOK, answer)
}

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

func (s *Simulator) graphRegister(w http.ResponseWriter, r *http.Request) {
	sess, bad := s.graphSession(r, ScopeManagement)
	if bad != nil {
		s.graphError(w, bad)
		return
	}
	var q struct {
		Product string `json:"messaging_product"`
		PIN     string `json:"pin"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || json.Unmarshal(body, &q) != nil || q.Product != "whatsapp" {
		s.graphError(w, newAPIError(100, "messaging_product is required"))
		return
	}
	s.mu.Lock()
	hook := sess.cfg.Webhook
	switch {
	case !sixDigits.MatchString(q.PIN):
		bad = newAPIError(100, "pin must have 6 digits")
	case hook != nil && hook.PIN != "" && hook.PIN != q.PIN:
		bad = newAPIError(133005, "Two-step verification PIN mismatch")
	default:
		sess.hooks.register = true
	}
	s.mu.Unlock()
	s.graphOutcome(w, bad)
}

// graphSubscribe is the list of apps that get an account's webhooks: this one,
// or none.
func (s *Simulator) graphSubscribe(w http.ResponseWriter, r *http.Request) {
	sess, bad := s.graphSession(r, ScopeManagement)
	if bad != nil {
		s.graphError(w, bad)
		return
	}
	s.mu.Lock()
	app := ""
	for _, other := range s.sessions { // of the same account
		if hook := other.cfg.Webhook; hook != nil && other.cfg.WABAID == sess.cfg.WABAID {
			app = hook.AppID
			if r.Method != http.MethodGet {
				other.hooks.subbed = r.Method == http.MethodPost
			}
		}
	}
	subbed := sess.hooks.subbed
	s.mu.Unlock()
	if r.Method != http.MethodGet {
		s.graphOutcome(w, nil)
		return
	}
	list := []any{}
	if subbed {
		list = append(list, map[string]any{"whatsapp_business_api_data": map[string]string{"id": app, "name": "wasim"}})
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": list})
}

func (s *Simulator) graphOutcome(w http.ResponseWriter, bad *apiError) {
	if bad != nil {
		s.graphError(w, bad)
		return
	}
	writeJSON(w, http.StatusOK, map[string]bool{"success": true})
}

// graphDebugToken says what a token is worth. An app's own token is its id and
// secret with a bar between.
func (s *Simulator) graphDebugToken(w http.ResponseWriter, r *http.Request) {
	app, secret, isApp := strings.Cut(bearer(r), "|")
	if !isApp {
		app, secret, isApp = strings.Cut(r.URL.Query().Get("access_token"), "|")
	}
	if !isApp || secret == "" || secret != s.appSecret(app) {
		if _, bad := s.graphToken(r); bad != nil {
			s.graphError(w, bad)
			return
		}
	}
	tok, err := s.tokens.lookup(r.URL.Query().Get("input_token"))
	if err != nil {
		code := map[string]any{"code": 190, "message": "Error validating access token: " + err.Error()}
		if errors.Is(err, errTokenExpired) {
			code["subcode"] = 463
		}
		writeJSON(w, http.StatusOK, map[string]any{"data": map[string]any{"is_valid": false, "scopes": []string{}, "error": code}})
		return
	}
	expires, _ := s.tokens.alive(tok)
	unix := int64(0)
	if !expires.IsZero() {
		unix = expires.Unix()
	}
	granular := []any{}
	for _, scope := range tok.scopes {
		granular = append(granular, map[string]any{"scope": scope, "target_ids": s.accountsOf(tok)})
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": map[string]any{
		"app_id": tok.client, "type": "SYSTEM_USER", "application": "wasim", "is_valid": true, "expires_at": unix,
		"data_access_expires_at": unix, "issued_at": tok.issued.Unix(), "scopes": tok.scopes, "granular_scopes": granular,
	}})
}

// accountsOf lists the WABA ids that a token may see.
func (s *Simulator) accountsOf(tok *token) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []string{}
	for _, sess := range s.sessions {
		if s.maySee(tok, sess) {
			list = append(list, sess.cfg.WABAID)
		}
	}
	return list
}

// codeLife is how long the code of an Embedded Signup can be exchanged.
const codeLife = 30 * time.Second

// SignupCode makes a code as Embedded Signup hands it to a business, for the
// app of a Cloud API session. It can be exchanged once, within 30 s.
func (s *Simulator) SignupCode(session string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[session]
	if sess == nil || sess.cfg.Webhook == nil {
		return "", errors.New("making signup code: no such Cloud API session")
	}
	code := randomCode()
	s.logins[code] = &login{client: sess.cfg.Webhook.AppID, ends: time.Now().Add(codeLife)}
	return code, nil
}

// graphAccessToken exchanges a signup code, or a token for one that lives longer.
func (s *Simulator) graphAccessToken(w http.ResponseWriter, r *http.Request) {
	app, secret := r.URL.Query().Get("client_id"), r.URL.Query().Get("client_secret")
	if secret == "" || secret != s.appSecret(app) {
		s.graphError(w, newAPIError(1, "Error validating client secret"))
		return
	}
	both := []string{ScopeMessaging, ScopeManagement}
	switch {
	case r.URL.Query().Get("grant_type") == "client_credentials":
		writeJSON(w, http.StatusOK, map[string]string{"access_token": app + "|" + secret, "token_type": "bearer"})
		return
	case r.URL.Query().Get("grant_type") == "fb_exchange_token":
		if tok, err := s.tokens.lookup(r.URL.Query().Get("fb_exchange_token")); err != nil || tok.client != app {
			s.graphError(w, newAPIError(190, "Error validating access token"))
			return
		}
	default:
		s.mu.Lock()
		l := s.logins[r.URL.Query().Get("code")]
		delete(s.logins, r.URL.Query().Get("code"))
		s.mu.Unlock()
		if l == nil || l.client != app || time.Now().After(l.ends) {
			e := newAPIError(100, "This authorization code has been used or expired")
			e.Subcode = 36009
			s.graphError(w, e)
			return
		}
	}
	tok := s.tokens.issueFor(app, both, "", 60*24*time.Hour)
	s.flush()
	writeJSON(w, http.StatusOK, map[string]any{"access_token": tok.value, "token_type": "bearer", "expires_in": int64(tok.ttl / time.Second)})
}
