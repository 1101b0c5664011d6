package main

import (
	"errors"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"wabridge/bridge"
	"wabridge/bridge/broker"
)

// config is what the environment says, checked.
type config struct {
	Broker   broker.Config
	Sessions []bridge.Definition

	WebhookAddr, WebhookCert, WebhookKey string
	GraphURL, GraphVersion               string
	Media                                bool

	AdminAddr       string
	AdminPprof      bool
	Control         bool
	LogLevel        slog.Level
	LogFormat       string
	TokenKey        string
	ReplicaID       string
	ShutdownTimeout time.Duration
	AllowInsecure   bool

	// Warnings are for people; none quotes a value.
	Warnings []string
}

// loadConfig reads the environment and reports every fault at once, as a
// *configError.
func loadConfig() (*config, error) {
	s, f, err := readSettings()
	if err != nil {
		return nil, err
	}
	c := &config{
		Broker:          f.broker(s),
		WebhookAddr:     f.address("WEBHOOK_ADDR", s.WebhookAddr),
		WebhookCert:     f.file("WEBHOOK_TLS_CERT", s.WebhookTLSCert),
		WebhookKey:      f.file("WEBHOOK_TLS_KEY", s.WebhookTLSKey),
		GraphURL:        f.url("GRAPH_URL", s.GraphURL, "https", "http"),
		GraphVersion:    f.graphVersion("GRAPH_VERSION", s.GraphVersion),
		Media:           f.flag("MEDIA", s.Media),
		AdminAddr:       f.address("ADMIN_ADDR", s.AdminAddr),
		AdminPprof:      f.flag("ADMIN_PPROF", s.AdminPprof),
		Control:         f.flag("CONTROL", s.Control),
		LogLevel:        f.level("LOG_LEVEL", s.LogLevel),
		LogFormat:       f.oneOf("LOG_FORMAT", s.LogFormat, "json", "text"),
		TokenKey:        f.key("TOKEN_KEY", s.TokenKey, s.TokenKeyFile),
		ReplicaID:       f.id("REPLICA_ID", s.ReplicaID),
		ShutdownTimeout: f.duration("SHUTDOWN_TIMEOUT", s.ShutdownTimeout, time.Second, 10*time.Minute),
		AllowInsecure:   f.flag("ALLOW_INSECURE", s.AllowInsecure),
	}
	if c.WebhookAddr == off {
		c.WebhookAddr = ""
	}
	f.both("WEBHOOK_TLS_CERT", s.WebhookTLSCert, "WEBHOOK_TLS_KEY", s.WebhookTLSKey)

	known, err := knownNames(globalVariables())
	if err != nil {
		return nil, err
	}
	ids := f.sessionIDs(s.Sessions)
	owner := map[string]string{}
	for _, id := range ids {
		d, names, err := f.session(id, c.WebhookAddr != "")
		if err != nil {
			return nil, err
		}
		c.Sessions = append(c.Sessions, d)
		f.distinct(owner, id, names)
		known = append(known, names...)
	}
	c.Warnings = unknown(os.Environ(), known)
	return c, f.err()
}

// loadBroker reads what a command needs that speaks to NATS alone; faults
// elsewhere do not hinder it.
func loadBroker() (broker.Config, error) {
	s, f, err := readSettings()
	if err != nil {
		return broker.Config{}, err
	}
	return f.broker(s), f.err()
}

func readSettings() (*settings, *faults, error) {
	s := defaultSettings()
	// Its error would quote a value; no type of settings can fail.
	if envconfig.Process(prefix, s) != nil {
		return nil, nil, errors.New("reading the environment failed")
	}
	return s, &faults{}, nil
}

func knownNames(list []variable, err error) ([]string, error) {
	names := make([]string, 0, len(list))
	for _, v := range list {
		names = append(names, v.Name)
	}
	return names, err
}

// broker checks the part that speaks to NATS.
func (f *faults) broker(s *settings) broker.Config {
	c := broker.Config{
		URL:         f.servers(s.NATS.URL, s.NATS.URLFile),
		Creds:       f.file("NATS_CREDS", s.NATS.Creds),
		Context:     string(s.NATS.Context),
		NKey:        f.file("NATS_NKEY", s.NATS.NKey),
		CA:          f.file("NATS_CA", s.NATS.CA),
		Cert:        f.file("NATS_CERT", s.NATS.Cert),
		Key:         f.file("NATS_KEY", s.NATS.Key),
		InboxPrefix: string(s.NATS.InboxPrefix),
		Domain:      f.id("JS_DOMAIN", s.JSDomain),
		Shards:      f.number("SHARDS", s.Shards, 0, 1024),
		Replicas:    f.number("STREAM_REPLICAS", s.StreamReplicas, 0, 5),
		Manage:      f.flag("MANAGE_STREAMS", s.ManageStreams),
	}
	f.both("NATS_CERT", s.NATS.Cert, "NATS_KEY", s.NATS.Key)
	if strings.ContainsAny(c.InboxPrefix, " *>") {
		f.add("NATS_INBOX_PREFIX", "want a subject without wildcards")
	}
	if c.Creds != "" {
		f.apart("NATS_NKEY", c.NKey, "NATS_CREDS")
	}
	if c.Context != "" {
		if s.NATS.URLFile == "" && s.NATS.URL == defaultSettings().NATS.URL {
			c.URL = ""
		}
		f.apart("NATS_URL", c.URL, "NATS_CONTEXT")
		f.apart("NATS_CREDS", c.Creds, "NATS_CONTEXT")
		f.apart("NATS_NKEY", c.NKey, "NATS_CONTEXT")
	}
	names, err := bridge.NewNames(f.id("SUBJECT_PREFIX", s.SubjectPrefix))
	if err == nil {
		c.Names = names
	}
	return c
}

// servers checks NATS_URL, which may hold a password.
func (f *faults) servers(value, file text) string {
	name := "NATS_URL"
	if path := f.file("NATS_URL_FILE", file); path != "" {
		name = "NATS_URL_FILE"
		content, err := os.ReadFile(path)
		if err != nil {
			f.add(name, "names a file that cannot be read")
			return ""
		}
		value = text(strings.TrimSpace(string(content)))
	}
	var list []string
	for server := range strings.SplitSeq(string(value), ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			f.add(name, "want nats://host:port (or tls://, ws://, wss://), several with commas between")
			return ""
		}
		list = append(list, u.String())
	}
	return strings.Join(list, ",")
}
