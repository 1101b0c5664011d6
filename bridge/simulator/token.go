package simulator

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"
)

// token is one access token.
type token struct {
	value   string
	client  string
	scopes  []string
	issued  time.Time
	expires time.Time // zero = never
	ttl     time.Duration
	family  string // of refresh tokens; "" for client credentials
}

func (t *token) allows(scope string) bool { return slices.Contains(t.scopes, scope) }

// refreshToken is one link in a chain of rotation. Using it kills it; using it
// again kills the whole family.
type refreshToken struct {
	client string
	scopes []string
	family string
	used   bool
}

// tokens holds every client and what was granted to it.
type tokens struct {
	mu      sync.Mutex
	ttl     time.Duration
	clients map[string]Client
	access  map[string]*token
	refresh map[string]*refreshToken
	changed func() // called without mu held, when tokens died
	record  func(*token)
	rotated func(value string, r *refreshToken)
}

var (
	errTokenUnknown = errors.New("token unknown or revoked")
	errTokenExpired = errors.New("token expired")
	errTokenRefresh = errors.New("a refresh token is no access token")
)

func newTokens(ttl time.Duration) *tokens {
	if ttl == 0 {
		ttl = time.Hour
	}
	return &tokens{
		ttl: ttl, clients: map[string]Client{}, access: map[string]*token{}, refresh: map[string]*refreshToken{},
		changed: func() {}, record: func(*token) {}, rotated: func(string, *refreshToken) {},
	}
}

func (t *tokens) addClient(c Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(c.Scopes) == 0 {
		c.Scopes = []string{ScopeMessaging, ScopeManagement}
	}
	t.clients[c.ID] = c
	if c.RefreshToken != "" && t.refresh[c.RefreshToken] == nil {
		t.putRefresh(c.RefreshToken, &refreshToken{client: c.ID, scopes: c.Scopes, family: rand.Text()})
	}
}

// client finds a client and checks its secret in constant time.
func (t *tokens) client(id, secret string) (Client, bool) {
	t.mu.Lock()
	c, ok := t.clients[id]
	t.mu.Unlock()
	same := subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1
	return c, ok && same
}

// issue grants an access token.
func (t *tokens) issue(client string, scopes []string, family string) *token {
	t.mu.Lock()
	ttl := t.ttl
	if own := time.Duration(t.clients[client].TokenTTL); own != 0 {
		ttl = own
	}
	t.mu.Unlock()
	return t.issueFor(client, scopes, family, ttl)
}

// put makes a token that never ends.
func (t *tokens) put(value, client string, scopes []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.access[value] = &token{value: value, client: client, scopes: scopes, issued: time.Now()}
}

func (t *tokens) issueFor(client string, scopes []string, family string, ttl time.Duration) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	tok := &token{value: "EAAS" + rand.Text() + rand.Text(), client: client, scopes: scopes, family: family, issued: now, expires: now.Add(ttl), ttl: ttl}
	t.access[tok.value] = tok
	t.record(tok)
	t.sweep(now)
	return tok
}

// sweep forgets tokens that expired an hour ago.
func (t *tokens) sweep(now time.Time) {
	if len(t.access)%256 != 0 {
		return
	}
	for k, v := range t.access {
		if !v.expires.IsZero() && now.Sub(v.expires) > time.Hour {
			delete(t.access, k)
		}
	}
}

// issueRefresh starts a family, or goes on with one.
func (t *tokens) issueRefresh(client string, scopes []string, family string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if family == "" {
		family = rand.Text()
	}
	value := "wasim-refresh-" + rand.Text()
	t.putRefresh(value, &refreshToken{client: client, scopes: scopes, family: family})
	return value
}

func (t *tokens) putRefresh(value string, r *refreshToken) {
	t.refresh[value] = r
	t.rotated(value, r)
}

// rotate uses up a refresh token. The error of a second use also tells that
// the family died with it.
func (t *tokens) rotate(client, value string) (*refreshToken, error) {
	t.mu.Lock()
	r := t.refresh[value]
	if r == nil || r.client != client {
		t.mu.Unlock()
		return nil, errors.New("refresh token unknown or revoked")
	}
	if !r.used {
		r.used = true
		t.rotated(value, r)
		t.mu.Unlock()
		return r, nil
	}
	t.killFamily(r.family)
	t.mu.Unlock()
	t.changed()
	return nil, errRefreshReused
}

var errRefreshReused = errors.New("refresh token was used before; its family is revoked")

func (t *tokens) killFamily(family string) {
	for k, v := range t.refresh {
		if v.family == family && !v.used {
			delete(t.refresh, k)
			t.rotated(k, nil)
		}
	}
	for k, v := range t.access {
		if v.family == family {
			t.dropAccess(k, v)
		}
	}
}

func (t *tokens) dropAccess(key string, tok *token) {
	delete(t.access, key)
	t.record(&token{value: tok.value, client: tok.client})
}

// lookup finds a living access token.
func (t *tokens) lookup(value string) (*token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tok := t.access[value]
	switch {
	case tok == nil && t.refresh[value] != nil:
		return nil, errTokenRefresh
	case tok == nil:
		return nil, errTokenUnknown
	case !tok.expires.IsZero() && !time.Now().Before(tok.expires):
		return nil, errTokenExpired
	}
	return tok, nil
}

// alive tells whether a token may still be used, and until when.
func (t *tokens) alive(tok *token) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tok.expires, t.access[tok.value] == tok
}

// revoke ends tokens: those of a client, or every one where client is "".
// Refresh tokens end too where refresh is set.
func (t *tokens) revoke(client string, refresh bool) int {
	t.mu.Lock()
	n := 0
	for k, v := range t.access {
		if client == "" || v.client == client {
			t.dropAccess(k, v)
			n++
		}
	}
	for k, v := range t.refresh {
		if refresh && (client == "" || v.client == client) {
			delete(t.refresh, k)
			t.rotated(k, nil)
			n++
		}
	}
	t.mu.Unlock()
	t.changed()
	return n
}

// revokeValue ends one token of a client, as RFC 7009 asks; an unknown one is
// no error.
func (t *tokens) revokeValue(client, value string) {
	t.mu.Lock()
	if tok := t.access[value]; tok != nil && tok.client == client {
		t.dropAccess(value, tok)
	}
	if r := t.refresh[value]; r != nil && r.client == client {
		t.killFamily(r.family)
	}
	t.mu.Unlock()
	t.changed()
}

// expire moves the end of a client's tokens to d from now.
func (t *tokens) expire(client string, d time.Duration) int {
	t.mu.Lock()
	n, end := 0, time.Now().Add(d)
	for _, v := range t.access {
		if client == "" || v.client == client {
			v.expires = end
			t.record(v)
			n++
		}
	}
	t.mu.Unlock()
	t.changed()
	return n
}

// opens tells whether a client may open a session.
func (t *tokens) opens(client, session string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.clients[client]
	return ok && (len(c.Sessions) == 0 || slices.Contains(c.Sessions, session))
}
