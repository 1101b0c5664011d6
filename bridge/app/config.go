package app

import (
	"errors"
	"fmt"
	"net"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/telemetry"
)

// The defaults of a Config.
const (
	DefaultAdminAddr       = "127.0.0.1:8088"
	DefaultShutdownTimeout = 25 * time.Second // below Kubernetes' 30 s
)

// Config is what the service needs. It holds no secret, only references, but for
// TokenKey.
type Config struct {
	Broker    broker.Config
	Telemetry telemetry.Config
	// Sessions are defined here and for as long as the process runs; KV
	// wa_sessions can add others, and pause these.
	Sessions []bridge.Definition
	// ReplicaID is the same after a restart and differs between replicas; empty
	// is the host's name.
	ReplicaID string
	Version   string

	// AdminAddr serves health and metrics; "off" serves nothing.
	AdminAddr string
	// AdminPprof serves profiles of the process on AdminAddr.
	AdminPprof bool
	// NoControl keeps the replica from answering as a NATS micro service.
	NoControl bool
	// WebhookAddr takes Meta's webhooks; empty takes none. With a certificate it
	// speaks TLS itself.
	WebhookAddr, WebhookCert, WebhookKey string
	// WebhooksAt, where not nil, hears the address that webhooks are taken at,
	// once they are: it tells the port that the system chose for port 0. It must
	// not block.
	WebhooksAt func(net.Addr)
	// GraphURL and GraphVersion are Meta's where empty.
	GraphURL, GraphVersion string
	// Media fetches and uploads media of Cloud API sessions; without it ids pass
	// as they are.
	Media bool
	// Doubt is how long a send that was written and not answered, on a platform
	// that cannot tell repeats, waits for a status that shows it; 0 is 60 s.
	Doubt time.Duration
	// TokenKey seals rotated refresh tokens (32 bytes, base64 or hex); without
	// it they are kept in memory, and a session with a refresh token must not
	// move between replicas.
	TokenKey string
	// AllowInsecure permits ws:// and http:// to hosts other than this one.
	AllowInsecure bool
	// ShutdownTimeout bounds the end of Run.
	ShutdownTimeout time.Duration
}

func (c *Config) setDefaults() {
	if c.AdminAddr == "" {
		c.AdminAddr = DefaultAdminAddr
	}
	if c.ShutdownTimeout <= 0 {
		c.ShutdownTimeout = DefaultShutdownTimeout
	}
}

// Validate reports every fault at once.
func (c *Config) Validate() error {
	faults := []error{c.Broker.Validate(), c.Telemetry.Validate()}
	seen := make(map[string]bool)
	for _, def := range c.Sessions {
		switch {
		case !bridge.ValidID(def.ID):
			faults = append(faults, fmt.Errorf("session id %q: want 1 to 64 letters, digits, _ or -", def.ID))
		case seen[def.ID]:
			faults = append(faults, fmt.Errorf("session %s is defined twice", def.ID))
		}
		seen[def.ID] = true
	}
	if c.ReplicaID != "" && !bridge.ValidID(c.ReplicaID) {
		faults = append(faults, fmt.Errorf("replica id %q: want 1 to 64 letters, digits, _ or -", c.ReplicaID))
	}
	for name, addr := range map[string]string{"admin address": c.AdminAddr, "webhook address": c.WebhookAddr} {
		if addr == "" || addr == "off" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			faults = append(faults, fmt.Errorf("%s %q: want host:port", name, addr))
		}
	}
	if (c.WebhookCert == "") != (c.WebhookKey == "") {
		faults = append(faults, errors.New("webhook certificate and key: give both or neither"))
	}
	if c.TokenKey != "" {
		if _, err := auth.ParseKey(c.TokenKey); err != nil {
			faults = append(faults, fmt.Errorf("token key: %w", err))
		}
	}
	return errors.Join(faults...)
}
