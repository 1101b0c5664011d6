package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	deviceLife     = 10 * time.Minute
	deviceInterval = time.Second
)

// login is a grant that waits to be fetched: by the code of a redirect, of a
// device or of Embedded Signup. Simulator.mu guards it.
type login struct {
	client string
	scopes []string
	ends   time.Time

	redirect  string // of an authorization code
	challenge string // PKCE, S256

	userCode string // of a device
	allowed  bool
	denied   bool
	polled   time.Time
}

func randomCode() string { return "wasim-code-" + rand.Text() }

// serveAuthorize is the authorization endpoint. There is nobody to ask: whoever
// comes is allowed at once and redirected with a code.
func (s *Simulator) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.tokens.mu.Lock()
	client, known := s.tokens.clients[q.Get("client_id")]
	s.tokens.mu.Unlock()
	back, err := url.Parse(q.Get("redirect_uri"))
	if !known || err != nil || !client.returnsTo(back) {
		http.Error(w, "unknown client_id or redirect_uri", http.StatusBadRequest)
		return
	}
	answer := back.Query()
	if state := q.Get("state"); state != "" {
		answer.Set("state", state)
	}
	scopes, err := scopesOf(q.Get("scope"), client.Scopes)
	switch {
	case q.Get("response_type") != "code":
		answer.Set("error", "unsupported_response_type")
	case err != nil:
		answer.Set("error", "invalid_scope")
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256":
		answer.Set("error", "invalid_request")
		answer.Set("error_description", "PKCE with S256 is required")
	default:
		code := randomCode()
		answer.Set("code", code)
		s.mu.Lock()
		s.logins[code] = &login{
			client: client.ID, scopes: scopes, ends: time.Now().Add(time.Minute), redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
		}
		s.mu.Unlock()
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound) //nolint:gosec // returnsTo has checked it
}

// returnsTo allows what is registered, and http on the loopback interface, as
// RFC 8252 has it for programs.
func (c *Client) returnsTo(u *url.URL) bool {
	if slices.Contains(c.RedirectURIs, u.String()) {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// takeLogin finds a login of the client; a code is good for one try.
func (s *Simulator) takeLogin(client, code string) *login {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logins[code]
	if l == nil || l.client != client {
		return nil
	}
	delete(s.logins, code)
	return l
}

func (s *Simulator) grantCode(client Client, form url.Values) (*tokenAnswer, error) {
	l := s.takeLogin(client.ID, form.Get("code"))
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	proof := base64.RawURLEncoding.EncodeToString(sum[:])
	switch {
	case l == nil || l.challenge == "" || time.Now().After(l.ends):
		return nil, oauthFault("invalid_grant", "code unknown, used or expired")
	case l.redirect != form.Get("redirect_uri"):
		return nil, oauthFault("invalid_grant", "redirect_uri is not the one of the request")
	case subtle.ConstantTimeCompare([]byte(proof), []byte(l.challenge)) != 1:
		return nil, oauthFault("invalid_grant", "code_verifier does not fit")
	}
	return s.grantLogin(l), nil
}

// grantLogin starts a family of refresh tokens.
func (s *Simulator) grantLogin(l *login) *tokenAnswer {
	family := rand.Text()
	refresh := s.tokens.issueRefresh(l.client, l.scopes, family)
	return answerOf(s.tokens.issue(l.client, l.scopes, family), refresh)
}

// serveDevice starts a device's login, RFC 8628.
func (s *Simulator) serveDevice(w http.ResponseWriter, r *http.Request) {
	form, err := oauthForm(r)
	var client Client
	if err == nil {
		client, err = s.clientOf(r, form)
	}
	var scopes []string
	if err == nil {
		scopes, err = scopesOf(form.Get("scope"), client.Scopes)
	}
	if err != nil {
		s.writeOAuthError(w, err)
		return
	}
	code, user := randomCode(), rand.Text()[:8]
	s.mu.Lock()
	s.logins[code] = &login{client: client.ID, scopes: scopes, ends: time.Now().Add(deviceLife), userCode: user}
	s.mu.Unlock()
	page := "http://" + r.Host + "/oauth/activate"
	writeJSON(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": user, "verification_uri": page, "verification_uri_complete": page + "?user_code=" + user,
		"expires_in": int(deviceLife.Seconds()), "interval": int(deviceInterval.Seconds()),
	})
}

// serveActivate is where the person with the device goes; ?deny=1 says no.
func (s *Simulator) serveActivate(w http.ResponseWriter, r *http.Request) {
	user := strings.ToUpper(r.URL.Query().Get("user_code"))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.logins {
		if user != "" && l.userCode == user {
			l.denied = r.URL.Query().Get("deny") != ""
			l.allowed = !l.denied
			_, _ = w.Write([]byte("Done. You can close this page.\n")) // the client may have left
			return
		}
	}
	http.Error(w, "This code is unknown: add ?user_code= and the code on your device.", http.StatusNotFound)
}

func (s *Simulator) grantDevice(client Client, form url.Values) (*tokenAnswer, error) {
	code := form.Get("device_code")
	s.mu.Lock()
	l := s.logins[code]
	var err error
	now := time.Now()
	switch {
	case l == nil || l.client != client.ID || l.userCode == "":
		err = oauthFault("invalid_grant", "device_code unknown or used")
	case now.After(l.ends):
		err = oauthFault("expired_token", "")
	case l.denied:
		err = oauthFault("access_denied", "")
	case now.Sub(l.polled) < deviceInterval:
		err = oauthFault("slow_down", "")
	case !l.allowed:
		err = oauthFault("authorization_pending", "")
		l.polled = now
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if l = s.takeLogin(client.ID, code); l == nil {
		return nil, oauthFault("invalid_grant", "device_code unknown or used")
	}
	return s.grantLogin(l), nil
}
