package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"wabridge/auth"
	"wabridge/bridge"
)

// Receiver takes what a webhook brought for one session, as bridge.Host does:
// Receive blocks while storing is behind, and the Acker of what it took hears
// when it is stored.
type Receiver interface {
	Receive(ctx context.Context, in *bridge.Inbound) error
}

// Route says which webhooks are one session's. Every replica holds the routes
// of all sessions, whichever of them it owns.
type Route struct {
	Session string
	// PhoneNumberID selects what belongs to the number, WABAID what belongs to
	// the account. At least one is needed.
	PhoneNumberID string
	WABAID        string
	// AppID, where given, also makes /webhook/<AppID> the session's.
	AppID string
	// AppSecret verifies signatures; so does PreviousAppSecret where it is set.
	AppSecret         string
	PreviousAppSecret string
	// VerifyToken answers Meta's handshake; empty where this route need not.
	VerifyToken string
	Receiver    Receiver
	// Media fetches the files of messages; nil leaves them with Meta.
	Media *Media
	// Count, where not nil, hears of messages that came in: they count towards
	// the number's rate limit. It must not block.
	Count func(n int)
	// Recheck, where not nil, is called when Meta says that the account or the
	// number's throughput has changed. It must not block.
	Recheck func()
}

// holds reports whether a webhook that secret verified may be this route's.
func (r *Route) holds(secret string) bool {
	return secret == r.AppSecret || secret == r.PreviousAppSecret
}

// Routes is a live set of routes. It is safe for concurrent use.
type Routes struct {
	mu    sync.Mutex
	all   map[string]Route
	table atomic.Pointer[table]
}

// NewRoutes returns an empty set.
func NewRoutes() *Routes {
	r := &Routes{all: make(map[string]Route)}
	r.table.Store(newTable(nil))
	return r
}

// Add adds a session's route or replaces it. The error names every fault.
func (r *Routes) Add(route Route) error {
	var faults []error
	if route.Session == "" {
		faults = append(faults, errors.New("no session"))
	}
	if route.PhoneNumberID == "" && route.WABAID == "" {
		faults = append(faults, errors.New("neither a phone number id nor a WABA id"))
	}
	if route.AppSecret == "" {
		faults = append(faults, errors.New("no app secret: webhooks could not be verified"))
	}
	if route.Receiver == nil {
		faults = append(faults, errors.New("no receiver"))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("webhook route of session %q: %w", route.Session, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[route.Session] = route
	r.table.Store(newTable(r.all))
	return nil
}

// Remove removes a session's route, if there is one.
func (r *Routes) Remove(session string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, session)
	r.table.Store(newTable(r.all))
}

// table is one state of the routes, ready to be looked up.
type table struct {
	phones map[string][]*Route
	wabas  map[string][]*Route
	apps   map[string]*app // by app id; "" holds all of them
}

// app is what a path of webhooks is verified with.
type app struct{ secrets, tokens []string }

func newTable(all map[string]Route) *table {
	t := &table{
		phones: make(map[string][]*Route),
		wabas:  make(map[string][]*Route),
		apps:   map[string]*app{"": {}},
	}
	for _, session := range slices.Sorted(maps.Keys(all)) {
		route := all[session]
		if route.PhoneNumberID != "" {
			t.phones[route.PhoneNumberID] = append(t.phones[route.PhoneNumberID], &route)
		}
		if route.WABAID != "" {
			t.wabas[route.WABAID] = append(t.wabas[route.WABAID], &route)
		}
		t.apps[""].add(&route)
		if route.AppID != "" {
			if t.apps[route.AppID] == nil {
				t.apps[route.AppID] = &app{}
			}
			t.apps[route.AppID].add(&route)
		}
	}
	return t
}

func (a *app) add(route *Route) {
	for _, secret := range []string{route.AppSecret, route.PreviousAppSecret} {
		if secret != "" && !slices.Contains(a.secrets, secret) {
			a.secrets = append(a.secrets, secret)
		}
	}
	if route.VerifyToken != "" && !slices.Contains(a.tokens, route.VerifyToken) {
		a.tokens = append(a.tokens, route.VerifyToken)
	}
}

// verifiedBy returns the secret that signed body, or "".
func (a *app) verifiedBy(body []byte, signature string) string {
	for _, secret := range a.secrets {
		if auth.VerifySignature([]string{secret}, body, signature) {
			return secret
		}
	}
	return ""
}

// find returns the sessions that a part belongs to: by its number where it
// names one, else by its account. An app speaks for its own sessions only, so
// secret limits them to those that it verifies.
func (t *table) find(phone, waba, secret string) []*Route {
	candidates := t.wabas[waba]
	if phone != "" {
		candidates = t.phones[phone]
	}
	if !slices.ContainsFunc(candidates, func(r *Route) bool { return !r.holds(secret) }) {
		return candidates
	}
	var found []*Route
	for _, route := range candidates {
		if route.holds(secret) {
			found = append(found, route)
		}
	}
	return found
}
