package cloudapi

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"wabridge/auth"
)

// Where Graph is, where nothing else is configured. The version is pinned: an
// address without one means the oldest version that Meta still serves.
const (
	DefaultGraphURL = "https://graph.facebook.com"
	DefaultVersion  = "v26.0"
)

const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 30 * time.Second // from the request's end to the answer's headers
	// Meta's servers close an idle connection after a minute or more. Closing
	// first keeps a send off a connection that is just being closed, where its
	// fate would be unknown.
	idleTimeout = 30 * time.Second
	maxAnswer   = 1 << 20 // bytes; Graph's answers are a few hundred
	maxHeader   = 64 << 10
)

// GraphConfig says how to reach the Graph API.
type GraphConfig struct {
	// URL is DefaultGraphURL where empty. Plain HTTP is for loopback addresses.
	URL string
	// Version is DefaultVersion where empty.
	Version string
	// Token gives the access token. Exchange alone does without.
	Token auth.Source
	// AppID and AppSecret are the Meta app's. With the secret every call carries
	// appsecret_proof; with both, tokens are inspected in the app's own name.
	AppID     string
	AppSecret string
	// Conns bounds the connections; 0 is 512. It should not be below a session's
	// window.
	Conns int
	// Insecure allows plain HTTP to any host, for a simulator in another
	// container: tokens then travel in clear.
	Insecure bool
	// Logger is slog.Default where nil.
	Logger *slog.Logger
}

// Graph is a client of the Graph API with one token. It is safe for concurrent
// use and runs no goroutine of its own.
type Graph struct {
	base      *url.URL // with the version
	token     auth.Source
	appID     string
	appSecret string
	http      *http.Client
	log       *slog.Logger
	proof     atomic.Pointer[proof]
}

// proof is the query that goes with a token.
type proof struct{ token, query string }

// NewGraph returns a client, or every fault of c.
func NewGraph(c GraphConfig) (*Graph, error) {
	var faults []error
	base, err := graphURL(cmp.Or(c.URL, DefaultGraphURL), c.Insecure)
	if err != nil {
		faults = append(faults, err)
	}
	version := cmp.Or(c.Version, DefaultVersion)
	if !validVersion(version) {
		faults = append(faults, fmt.Errorf("graph version %q: want v and a number, as %s", version, DefaultVersion))
	}
	if c.AppID != "" && !validID(c.AppID) {
		faults = append(faults, errors.New("app id: want letters and digits"))
	}
	if c.Conns < 0 {
		faults = append(faults, errors.New("connections: negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	g := &Graph{
		base:      base.JoinPath(version),
		token:     c.Token,
		appID:     c.AppID,
		appSecret: c.AppSecret,
		http:      newClient(cmp.Or(c.Conns, 512)),
		log:       cmp.Or(c.Logger, slog.Default()),
	}
	return g, nil
}

// newClient returns a client that follows no redirect: a token goes where it
// was sent and nowhere else. It speaks HTTP/1.1, one request at a time on a
// connection, so that a lost connection leaves one send unanswered and not all.
func newClient(conns int) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
			Protocols:              protocols,
			TLSHandshakeTimeout:    dialTimeout,
			ResponseHeaderTimeout:  answerTimeout,
			MaxResponseHeaderBytes: maxHeader,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConns:           conns,
			MaxIdleConnsPerHost:    conns,
			MaxConnsPerHost:        conns,
			DisableCompression:     true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close drops idle connections. The client stays usable.
func (g *Graph) Close() { g.http.CloseIdleConnections() }

// graphURL reads the address of Graph.
func graphURL(raw string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("graph URL: want https://host, without user, query or fragment")
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && (insecure || loopbackHost(u.Hostname())):
	case u.Scheme == "http":
		return nil, errors.New("graph URL: plain http is for loopback addresses; want https")
	default:
		return nil, errors.New("graph URL: want https")
	}
	return u, nil
}

// loopbackHost reports whether host is this machine.
func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// validVersion accepts "v26.0" and its like.
func validVersion(v string) bool {
	digits, found := strings.CutPrefix(v, "v")
	if !found || len(v) > 10 || digits == "" {
		return false
	}
	return strings.Trim(digits, "0123456789.") == "" && digits[0] != '.'
}

// validID accepts what Meta's ids are made of, and nothing that could lead a
// path elsewhere.
func validID(id string) bool {
	if id == "" || len(id) > 256 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '-', c == '=':
		default:
			return false
		}
	}
	return true
}

// query returns the parameters that go with every call made with token.
func (g *Graph) query(token string) string {
	if g.appSecret == "" {
		return ""
	}
	if p := g.proof.Load(); p != nil && p.token == token {
		return p.query
	}
	p := &proof{token: token, query: "appsecret_proof=" + auth.AppSecretProof(g.appSecret, token, time.Time{})}
	g.proof.Store(p)
	return p.query
}
