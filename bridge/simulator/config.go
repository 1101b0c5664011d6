package simulator

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"regexp"
	"time"
)

// The two permissions that WhatsApp knows.
const (
	ScopeMessaging  = "whatsapp_business_messaging"
	ScopeManagement = "whatsapp_business_management"
)

// Duration is a time.Duration that JSON spells as text: "1.5s".
type Duration time.Duration

// MarshalText writes "1.5s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Config is what a Simulator is made of. The zero value is a platform without
// sessions or clients, to which both can be added later.
type Config struct {
	Sessions []SessionConfig
	Clients  []Client
	// TokenTTL is how long an access token lives where the client does not say
	// otherwise; 0 is an hour.
	TokenTTL time.Duration
	// Delays are the steps of a message on its way to the phone. The zero value
	// means the defaults (1 ms, 5 ms, 20 ms); a negative step takes no time.
	Delays Delays
	// TranscriptLimit is how many messages a phone remembers; 0 is 100.
	TranscriptLimit int
	// RefuseUnknown answers 131026 to a recipient that was not made by SetUser.
	// Without it a recipient comes to life with the first message.
	RefuseUnknown bool
	// StateDir keeps accepted sends, unacknowledged events and tokens through a
	// kill of the process. Empty keeps everything in memory.
	StateDir string
	// Hop serves what the page shows beside the phone, under /hop/; nil leaves
	// that column empty.
	Hop http.Handler
	// Logger hears of connections, violations and faults, never of numbers,
	// texts or tokens. Nil is silence.
	Logger *slog.Logger
}

// Delays are the steps from one tick to the next.
type Delays struct {
	Sent      Duration `json:"sent"`
	Delivered Duration `json:"delivered"`
	Read      Duration `json:"read"`
}

// SessionConfig is one business phone number.
type SessionConfig struct {
	ID string `json:"id"`
	// Window is how many sends may be unanswered; 0 is 256.
	Window int `json:"window,omitempty"`
	// The numbers are made up from the id where they are empty.
	PhoneNumberID      string `json:"phone_number_id,omitempty"`
	DisplayPhoneNumber string `json:"display_phone_number,omitempty"`
	WABAID             string `json:"waba_id,omitempty"`
	// NoDedupe delivers a repeated send again, for tests that count doubles.
	NoDedupe bool `json:"no_dedupe,omitempty"`
	// NoStatuses ends a message's way at the phone: no sent, delivered, read.
	NoStatuses bool `json:"no_statuses,omitempty"`
	// Webhook, where set, makes this a Cloud API session: what happens is posted
	// there and nothing is kept for a WebSocket.
	Webhook *Webhook `json:"webhook,omitempty"`
}

// Client is one OAuth client.
type Client struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	// Scopes that it may be granted; empty is both.
	Scopes []string `json:"scopes,omitempty"`
	// Sessions that it may open; empty is every one.
	Sessions []string `json:"sessions,omitempty"`
	// TokenTTL overrides Config.TokenTTL.
	TokenTTL Duration `json:"token_ttl,omitempty"`
	// RefreshToken is valid from the start; it is rotated as every other.
	RefreshToken string `json:"refresh_token,omitempty"`
	// RedirectURIs that the authorization code grant may return to, besides
	// every http address on the loopback interface.
	RedirectURIs []string `json:"redirect_uris,omitempty"`
}

var sessionID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c *Config) validate() error {
	var errs []error
	seen := map[string]bool{}
	for i := range c.Sessions {
		errs = append(errs, c.Sessions[i].validate())
		if seen[c.Sessions[i].ID] {
			errs = append(errs, fmt.Errorf("session %q is there twice", c.Sessions[i].ID))
		}
		seen[c.Sessions[i].ID] = true
	}
	for i := range c.Clients {
		errs = append(errs, c.Clients[i].validate())
	}
	if c.TokenTTL < 0 {
		errs = append(errs, errors.New("token lifetime is negative"))
	}
	return errors.Join(errs...)
}

func (c *SessionConfig) validate() error {
	if !sessionID.MatchString(c.ID) {
		return fmt.Errorf("session id %q: want 1 to 64 letters, digits, _ or -", c.ID)
	}
	if c.Window < 0 {
		return fmt.Errorf("session %s: window is negative", c.ID)
	}
	return c.Webhook.validate()
}

// WithDefaults fills in what is empty, as the simulator does.
func (c SessionConfig) WithDefaults() SessionConfig {
	if c.Webhook != nil {
		hook := *c.Webhook
		c.Webhook = &hook
	}
	c.setDefaults()
	return c
}

func (c *SessionConfig) setDefaults() {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.ID)) // a hash does not fail
	n := h.Sum32() % 1e7
	if c.Window == 0 {
		c.Window = 256
	}
	if c.PhoneNumberID == "" {
		c.PhoneNumberID = fmt.Sprintf("88009%010d", n)
	}
	if c.DisplayPhoneNumber == "" {
		c.DisplayPhoneNumber = fmt.Sprintf("1555%07d", n)
	}
	if c.WABAID == "" {
		c.WABAID = fmt.Sprintf("77001%010d", n)
	}
	if c.Webhook != nil {
		c.Webhook.setDefaults()
	}
}

func (c *Client) validate() error {
	if c.ID == "" {
		return errors.New("a client has no id")
	}
	for _, s := range c.Scopes {
		if s != ScopeMessaging && s != ScopeManagement {
			return fmt.Errorf("client %s: unknown scope %q", c.ID, s)
		}
	}
	return nil
}

func (d *Delays) setDefaults() {
	for _, f := range []struct {
		d *Duration
		v time.Duration
	}{{&d.Sent, time.Millisecond}, {&d.Delivered, 5 * time.Millisecond}, {&d.Read, 20 * time.Millisecond}} {
		if *f.d == 0 {
			*f.d = Duration(f.v)
		}
		*f.d = max(*f.d, 0)
	}
}
