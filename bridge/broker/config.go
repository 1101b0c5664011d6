package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"wabridge/bridge"
)

// What holds where a Config says nothing.
const (
	DefaultURL        = "nats://127.0.0.1:4222"
	DefaultStartWait  = 30 * time.Second
	DefaultMaxRecords = 1024
	DefaultMaxBytes   = 4 << 20
)

// Config says how to reach NATS and what to expect there. The zero value
// connects to a server on this machine and manages the streams under "wa".
type Config struct {
	// URL is one or more server URLs, separated by commas.
	URL string
	// Context names a context of the nats command line, or is the path of its
	// file. It replaces URL and brings credentials of its own.
	Context string
	// Creds is the path of a .creds file; NKey, of an nkey seed file.
	Creds string
	NKey  string
	// CA, Cert and Key are the paths of PEM files for TLS.
	CA   string
	Cert string
	Key  string
	// InboxPrefix replaces "_INBOX" in the subjects that answers come on.
	InboxPrefix string
	// Domain is the JetStream domain; empty means the server's own.
	Domain string
	// Name is what the server's monitoring shows for the connection.
	Name string

	// Names derives subjects, streams and buckets; the zero value is that of
	// bridge.DefaultPrefix.
	Names bridge.Names
	// Shards is the number of shards that WA_SEND is created with. 0 takes the
	// number of the existing stream, or bridge.DefaultShards.
	Shards int
	// Replicas is the number of copies of each stream and bucket. 0 creates one
	// copy on a single server and three on a cluster, and accepts what exists.
	Replicas int
	// Manage creates the streams and buckets that are missing. Otherwise one that
	// is missing is an error.
	Manage bool
	// StartWait is how long Connect and Ensure wait for servers that are not up
	// or elect a leader. 0 means 30 s.
	StartWait time.Duration

	// MaxRecords and MaxBytes bound what each Store holds unanswered. 0 means
	// 1,024 and 4 MiB.
	MaxRecords int
	MaxBytes   int

	// Logger is slog.Default where nil; Meter is the global provider's.
	Logger *slog.Logger
	Meter  metric.MeterProvider
}

// Validate reports every fault of the configuration at once. It opens the
// files that are named and nothing else.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Context != "" && (c.URL != "" || c.Creds != "" || c.NKey != "") {
		fault("context: brings its own URL and credentials; leave out URL, creds and nkey")
	}
	for one := range strings.SplitSeq(c.URL, ",") {
		// What cannot be read may hold a password: it is not repeated.
		if u, err := url.Parse(strings.TrimSpace(one)); c.URL != "" && (err != nil || u.Host == "") {
			fault("URL: want nats://host:port, several separated by commas")
			break
		}
	}
	if c.Creds != "" && c.NKey != "" {
		fault("creds and nkey: give one of them")
	}
	if (c.Cert == "") != (c.Key == "") {
		fault("cert and key: one needs the other")
	}
	for _, f := range []struct{ name, path string }{
		{"creds", c.Creds}, {"nkey", c.NKey}, {"CA", c.CA}, {"cert", c.Cert}, {"key", c.Key},
	} {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			fault("%s: %w", f.name, err)
		}
	}
	if strings.ContainsAny(c.InboxPrefix, " *>\t\r\n") || strings.HasSuffix(c.InboxPrefix, ".") {
		fault("inbox prefix %q: want a subject without wildcards or a dot at the end", c.InboxPrefix)
	}
	if c.Shards < 0 || c.Shards > 1024 {
		fault("shards: %d, want 1 to 1024", c.Shards)
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		fault("replicas: %d, want 1 to 5", c.Replicas)
	}
	if c.StartWait < 0 || c.MaxRecords < 0 || c.MaxBytes < 0 {
		fault("start wait, max records and max bytes: want no negative number")
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() (Config, error) {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	if c.Name == "" {
		c.Name = "wabridge"
	}
	if c.Names.Prefix() == "" {
		names, err := bridge.NewNames(bridge.DefaultPrefix)
		if err != nil {
			return c, err
		}
		c.Names = names
	}
	if c.StartWait == 0 {
		c.StartWait = DefaultStartWait
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = DefaultMaxRecords
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Meter == nil {
		c.Meter = otel.GetMeterProvider()
	}
	return c, nil
}
