package chatapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"wabridge/auth"
	"wabridge/bridge"
)

// Scopes of a Chat API session.
const (
	// ScopeMessaging is needed to send and to receive.
	ScopeMessaging = "whatsapp_business_messaging"
	// ScopeManagement is needed for events beside messages and statuses.
	ScopeManagement = "whatsapp_business_management"
)

// Config says what a session is and what it runs in.
type Config struct {
	// Definition names the session and its URL; "{session}" in that is filled in.
	Definition bridge.Definition
	Host       bridge.Host
	Tokens     auth.Source

	// Turn, where not nil, is called before each attempt to connect, and over when
	// it has succeeded or failed. Sessions of a process share it, so that those
	// which lost a platform together come back one behind the other. It blocks,
	// and fails only where ctx ends.
	Turn func(ctx context.Context) (over func(), err error)

	// Env is the same for all sessions of a process; nil means its defaults.
	*Env
}

// Env is what all sessions of a process have in common: what they tell, whom
// they trust, and how patient they are. A time of zero means its default. The
// first New fills the defaults in; nothing may be changed from then on.
type Env struct {
	// AllowInsecure permits ws:// to hosts other than this machine.
	AllowInsecure bool
	// TLS verifies a wss:// platform; nil means the system's roots.
	TLS *tls.Config

	// Logger, TracerProvider and Metrics may be nil: then nothing is said.
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	Metrics        *Metrics

	// Handshake bounds connecting, up to the platform's first frame (10 s).
	Handshake time.Duration
	// Ping is the time between pings (15 s).
	Ping time.Duration
	// ReadIdle is how long nothing may arrive, counted while reading (30 s).
	ReadIdle time.Duration
	// WriteTimeout bounds the write of one frame (10 s).
	WriteTimeout time.Duration
	// AnswerTimeout is how long a send may stay unanswered (30 s).
	AnswerTimeout time.Duration
	// BackoffMin and BackoffMax bound the wait before the next connection,
	// which doubles and is drawn with full jitter (250 ms, 30 s).
	BackoffMin, BackoffMax time.Duration
	// UnauthorizedMin and UnauthorizedMax bound the wait, which doubles, after a
	// refused token and where the platform knows no such session (30 s, 5 min).
	UnauthorizedMin, UnauthorizedMax time.Duration
	// CloseTimeout bounds the end of a session: the wait for answers and for
	// events to be stored (5 s).
	CloseTimeout time.Duration

	once   sync.Once
	faults error // of what is above
	tracer trace.Tracer
	base   context.Context //nolint:containedctx // of all that sessions do: they are ended by stop
	born   time.Time       // when the defaults were filled in; see since
	rounds *rounds         // of pings
	ping   *websocket.PreparedMessage
	poller *poller  // nil: each link has a goroutine that waits
	names  sync.Map // of hosts, to the *tls.Config for each
	proxy  func(*http.Request) (*url.URL, error)
}

// prepare fills defaults in, once, and returns every fault.
func (e *Env) prepare() error {
	e.once.Do(func() { e.faults = e.fill() })
	return e.faults
}

// fill fills defaults in and returns every fault.
func (e *Env) fill() error {
	var faults []error
	for _, t := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"handshake", &e.Handshake, 10 * time.Second},
		{"ping", &e.Ping, 15 * time.Second},
		{"read time-out", &e.ReadIdle, 30 * time.Second},
		{"write time-out", &e.WriteTimeout, 10 * time.Second},
		{"answer time-out", &e.AnswerTimeout, 30 * time.Second},
		{"least backoff", &e.BackoffMin, 250 * time.Millisecond},
		{"longest backoff", &e.BackoffMax, 30 * time.Second},
		{"least unauthorized wait", &e.UnauthorizedMin, 30 * time.Second},
		{"longest unauthorized wait", &e.UnauthorizedMax, 5 * time.Minute},
		{"close time-out", &e.CloseTimeout, 5 * time.Second},
	} {
		if *t.value == 0 {
			*t.value = t.def
		}
		if *t.value < 0 {
			faults = append(faults, fmt.Errorf("%s: %v is negative", t.name, *t.value))
		}
	}
	if e.Ping >= e.ReadIdle {
		faults = append(faults, fmt.Errorf("ping: %v must be below the read time-out, %v", e.Ping, e.ReadIdle))
	}
	if e.BackoffMin > e.BackoffMax {
		faults = append(faults, fmt.Errorf("backoff: the least wait, %v, is above the longest, %v", e.BackoffMin, e.BackoffMax))
	}
	if e.UnauthorizedMin > e.UnauthorizedMax {
		faults = append(faults, fmt.Errorf("unauthorized: the least wait, %v, is above the longest, %v", e.UnauthorizedMin, e.UnauthorizedMax))
	}
	if e.Logger == nil {
		e.Logger = slog.New(slog.DiscardHandler)
	}
	if e.TracerProvider == nil {
		e.TracerProvider = tracenoop.NewTracerProvider()
	}
	e.tracer = e.TracerProvider.Tracer(scope)
	e.base, e.born = context.Background(), time.Now()
	e.rounds, e.poller, e.proxy = newRounds(e.Ping), newPoller(), http.ProxyFromEnvironment
	ping, err := websocket.NewPreparedMessage(websocket.PingMessage, nil)
	faults = append(faults, err)
	e.ping = ping
	if e.Metrics == nil {
		m, err := NewMetrics(metricnoop.NewMeterProvider())
		faults = append(faults, err)
		e.Metrics = m
	}
	return errors.Join(faults...)
}

// since is now as what can be kept in an atomic: the time since born, which no
// change of the machine's clock moves. It is never 0.
func (e *Env) since(now time.Time) int64 { return max(int64(now.Sub(e.born)), 1) }

// tlsOf is the TLS configuration for the host of that name.
func (e *Env) tlsOf(name string) *tls.Config {
	if e.TLS != nil && e.TLS.ServerName != "" {
		return e.TLS
	}
	if known, ok := e.names.Load(name); ok {
		return known.(*tls.Config)
	}
	c := e.TLS.Clone() // nil of nil
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c.ServerName = name
	e.names.Store(name, c)
	return c
}

// prepare fills defaults in and returns every fault.
func (c *Config) prepare() error {
	if c.Env == nil {
		c.Env = new(Env)
	}
	faults := []error{c.Env.prepare()}
	if c.Host == nil {
		faults = append(faults, errors.New("host: missing"))
	}
	if c.Tokens == nil {
		faults = append(faults, errors.New("tokens: missing"))
	}
	if !bridge.ValidID(c.Definition.ID) {
		faults = append(faults, fmt.Errorf("id %q: want 1 to 64 letters, digits, _ or -", c.Definition.ID))
	}
	if p := c.Definition.Platform; p != "" && p != bridge.PlatformChatAPI {
		faults = append(faults, fmt.Errorf("platform %q: want %q", p, bridge.PlatformChatAPI))
	}
	if err := c.reachable(); err != nil {
		faults = append(faults, err)
	}
	if c.Turn == nil {
		c.Turn = func(context.Context) (func(), error) { return func() {}, nil }
	}
	return errors.Join(faults...)
}

// reachable says what is wrong with the URL. Its errors do not quote that: its
// query may hold a key.
func (c *Config) reachable() error {
	if c.Definition.URL == "" {
		return errors.New("url: missing")
	}
	u, err := url.Parse(target(c.Definition.URL, c.Definition.ID))
	switch {
	case err != nil, u.Host == "":
		return errors.New("url: not a URL with a host")
	case u.User != nil, u.Fragment != "":
		return errors.New("url: must not hold credentials or a fragment")
	case u.Scheme == "wss", u.Scheme == "ws" && (c.AllowInsecure || auth.Loopback(u.Hostname())):
		return nil
	case u.Scheme == "ws":
		return errors.New("url: must be wss (ws only to this machine): the token would pass in clear")
	default:
		return errors.New("url: must be wss or ws")
	}
}

// target is the URL of a definition with the session's id in it.
func target(address, id string) string {
	return strings.ReplaceAll(address, "{session}", url.PathEscape(id))
}
