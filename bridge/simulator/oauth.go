package simulator

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// oauthError is an error answer of RFC 6749, section 5.2.
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func oauthFault(code, description string) *oauthError {
	status := http.StatusBadRequest
	if code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	return &oauthError{status: status, Code: code, Description: description}
}

type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
}

// serveToken is the token endpoint.
func (s *Simulator) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	s.count(func(c *Stats) { c.TokenRequests++ })
	if s.httpFault(w, r, FaultToken, "") {
		return
	}
	answer, err := s.grant(r)
	if err != nil {
		s.count(func(c *Stats) { c.TokenRefusals++ })
		s.writeOAuthError(w, err)
		return
	}
	s.flush()
	writeJSON(w, http.StatusOK, answer)
}

func (s *Simulator) writeOAuthError(w http.ResponseWriter, err error) {
	var oe *oauthError
	if !errors.As(err, &oe) {
		oe = oauthFault("server_error", err.Error())
		oe.status = http.StatusInternalServerError
	}
	if oe.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="wasim"`)
	}
	writeJSON(w, oe.status, oe)
}

// oauthForm reads a form that RFC 6749 allows: each parameter once.
func oauthForm(r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, oauthFault("invalid_request", "want application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(nil, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return nil, oauthFault("invalid_request", "unreadable form")
	}
	for k, v := range r.PostForm {
		if len(v) > 1 {
			return nil, oauthFault("invalid_request", k+" is there twice")
		}
	}
	return r.PostForm, nil
}

// clientOf authenticates the client, by header or form but not both. Public
// clients (no secret) name themselves only.
func (s *Simulator) clientOf(r *http.Request, form url.Values) (Client, error) {
	id, secret, basic := r.BasicAuth()
	if basic {
		if form.Has("client_secret") {
			return Client{}, oauthFault("invalid_request", "two ways of client authentication at once")
		}
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil {
			return Client{}, oauthFault("invalid_request", "client credentials are badly encoded")
		}
	} else {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	c, ok := s.tokens.client(id, secret)
	if !ok {
		return Client{}, oauthFault("invalid_client", "unknown client or wrong secret")
	}
	return c, nil
}

func (s *Simulator) grant(r *http.Request) (*tokenAnswer, error) {
	form, err := oauthForm(r)
	if err != nil {
		return nil, err
	}
	client, err := s.clientOf(r, form)
	if err != nil {
		return nil, err
	}
	switch kind := form.Get("grant_type"); kind {
	case "client_credentials":
		if client.Secret == "" {
			return nil, oauthFault("unauthorized_client", "a public client has no credentials to use")
		}
		scopes, err := scopesOf(form.Get("scope"), client.Scopes)
		if err != nil {
			return nil, err
		}
		return answerOf(s.tokens.issue(client.ID, scopes, ""), ""), nil
	case "refresh_token":
		return s.grantRefresh(client, form)
	case "authorization_code":
		return s.grantCode(client, form)
	case "urn:ietf:params:oauth:grant-type:device_code":
		return s.grantDevice(client, form)
	case "":
		return nil, oauthFault("invalid_request", "grant_type is missing")
	default:
		return nil, oauthFault("unsupported_grant_type", "grant_type is not one of client_credentials, refresh_token, authorization_code, device_code")
	}
}

func (s *Simulator) grantRefresh(client Client, form url.Values) (*tokenAnswer, error) {
	value := form.Get("refresh_token")
	if value == "" {
		return nil, oauthFault("invalid_request", "refresh_token is missing")
	}
	old, err := s.tokens.rotate(client.ID, value)
	if err != nil {
		if errors.Is(err, errRefreshReused) {
			s.violate("", "refresh-token-reused", "a refresh token was used twice")
		}
		return nil, oauthFault("invalid_grant", err.Error())
	}
	scopes, err := scopesOf(form.Get("scope"), old.scopes)
	if err != nil {
		return nil, err
	}
	next := s.tokens.issueRefresh(client.ID, old.scopes, old.family)
	return answerOf(s.tokens.issue(client.ID, scopes, old.family), next), nil
}

// scopesOf narrows what may be granted to what was asked for.
func scopesOf(asked string, may []string) ([]string, error) {
	want := strings.Fields(asked)
	if len(want) == 0 {
		return may, nil
	}
	for _, scope := range want {
		if !slices.Contains(may, scope) {
			return nil, oauthFault("invalid_scope", "scope is not granted to this client")
		}
	}
	return want, nil
}

func answerOf(tok *token, refresh string) *tokenAnswer {
	return &tokenAnswer{
		AccessToken: tok.value, TokenType: "bearer", RefreshToken: refresh, Scope: strings.Join(tok.scopes, " "),
		ExpiresIn: int64(tok.ttl / time.Second),
	}
}

// serveRevoke is the revocation endpoint of RFC 7009.
func (s *Simulator) serveRevoke(w http.ResponseWriter, r *http.Request) {
	form, err := oauthForm(r)
	if err == nil {
		var client Client
		if client, err = s.clientOf(r, form); err == nil {
			s.tokens.revokeValue(client.ID, form.Get("token"))
			s.flush()
			w.WriteHeader(http.StatusOK)
			return
		}
	}
	s.writeOAuthError(w, err)
}

// bearer reads the token of a request.
func bearer(r *http.Request) string {
	scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(value)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have left
}
