package chatapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

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

// Config says what a session is, what it runs in, and how patient it is. A time
// of zero means its default.
type Config struct {
	// Definition names the session and its URL; "{session}" in that is filled in.
	Definition bridge.Definition
	Host       bridge.Host
	Tokens     auth.Source
	// AllowInsecure permits ws:// to hosts other than this machine.
	AllowInsecure bool
	// TLS verifies a wss:// platform; nil means the system's roots.
	TLS *tls.Config

	// Turn, where not nil, is called before each attempt to connect, and over when
	// it has succeeded or failed. Sessions of a process share it, so that those
	// which lost a platform together come back one behind the other. It blocks,
	// and fails only where ctx ends.
	Turn func(ctx context.Context) (over func(), err error)

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
	// CloseTimeout bounds the end of Run: the wait for answers and for events
	// to be stored (5 s).
	CloseTimeout time.Duration
}

// prepare fills defaults in and reports every fault; it returns the URL to
// connect to.
func (c *Config) prepare() (string, error) {
	var faults []error
	for _, t := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"handshake", &c.Handshake, 10 * time.Second},
		{"ping", &c.Ping, 15 * time.Second},
		{"read time-out", &c.ReadIdle, 30 * time.Second},
		{"write time-out", &c.WriteTimeout, 10 * time.Second},
		{"answer time-out", &c.AnswerTimeout, 30 * time.Second},
		{"least backoff", &c.BackoffMin, 250 * time.Millisecond},
		{"longest backoff", &c.BackoffMax, 30 * time.Second},
		{"least unauthorized wait", &c.UnauthorizedMin, 30 * time.Second},
		{"longest unauthorized wait", &c.UnauthorizedMax, 5 * time.Minute},
		{"close time-out", &c.CloseTimeout, 5 * time.Second},
	} {
		if *t.value == 0 {
			*t.value = t.def
		}
		if *t.value < 0 {
			faults = append(faults, fmt.Errorf("%s: %v is negative", t.name, *t.value))
		}
	}
	if c.Ping >= c.ReadIdle {
		faults = append(faults, fmt.Errorf("ping: %v must be below the read time-out, %v", c.Ping, c.ReadIdle))
	}
	if c.BackoffMin > c.BackoffMax {
		faults = append(faults, fmt.Errorf("backoff: the least wait, %v, is above the longest, %v", c.BackoffMin, c.BackoffMax))
	}
	if c.UnauthorizedMin > c.UnauthorizedMax {
		faults = append(faults, fmt.Errorf("unauthorized: the least wait, %v, is above the longest, %v", c.UnauthorizedMin, c.UnauthorizedMax))
	}
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
	target, err := c.target()
	if err != nil {
		faults = append(faults, err)
	}
	if c.Turn == nil {
		c.Turn = func(context.Context) (func(), error) { return func() {}, nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.TracerProvider == nil {
		c.TracerProvider = tracenoop.NewTracerProvider()
	}
	if c.Metrics == nil {
		m, err := NewMetrics(metricnoop.NewMeterProvider())
		faults = append(faults, err)
		c.Metrics = m
	}
	return target, errors.Join(faults...)
}

// target is the URL with the session's id in it. Its errors do not quote the
// URL: its query may hold a key.
func (c *Config) target() (string, error) {
	raw := c.Definition.URL
	if raw == "" {
		return "", errors.New("url: missing")
	}
	target := strings.ReplaceAll(raw, "{session}", url.PathEscape(c.Definition.ID))
	u, err := url.Parse(target)
	switch {
	case err != nil, u.Host == "":
		return "", errors.New("url: not a URL with a host")
	case u.User != nil, u.Fragment != "":
		return "", errors.New("url: must not hold credentials or a fragment")
	case u.Scheme == "wss", u.Scheme == "ws" && (c.AllowInsecure || auth.Loopback(u.Hostname())):
		return target, nil
	case u.Scheme == "ws":
		return "", errors.New("url: must be wss (ws only to this machine): the token would pass in clear")
	default:
		return "", errors.New("url: must be wss or ws")
	}
}
