package broker

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// contradicts checks that an error names the field, and what to do.
func contradicts(t *testing.T, err error, field string) {
	t.Helper()
	c, ok := errors.AsType[*ContradictionError](err)
	if !ok {
		t.Fatalf("error = %v, want a contradiction", err)
	}
	if c.Field != field {
		t.Errorf("field = %s, want %s", c.Field, field)
	}
	for _, part := range []string{c.Stream, c.Field, c.Found, c.Wanted, c.Remedy} {
		if part == "" || !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestEveryContradictionIsFound(t *testing.T) {
	names, err := bridge.NewNames("wa")
	if err != nil {
		t.Fatal(err)
	}
	specs := Specs(names, 32, 1)
	byName := func(name string) jetstream.StreamConfig {
		for _, s := range specs {
			if s.Name == name {
				return s
			}
		}
		t.Fatalf("no spec of %s", name)
		return jetstream.StreamConfig{}
	}
	for _, test := range []struct {
		stream, field string
		change        func(*jetstream.StreamConfig)
	}{
		{"WA_RECV", "subjects", func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[:2] }},
		{"WA_RECV", "subject_transform", func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "a", Destination: "b"}
		}},
		{"WA_SEND", "subject_transform", func(c *jetstream.StreamConfig) { c.SubjectTransform.Destination = "wa.x.{{partition(32,1)}}" }},
		{"WA_SEND", "retention", func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }},
		{"WA_SEND", "storage", func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		{"WA_DEAD", "discard", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }},
		{"WA_RECV", "max_msgs_per_subject", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 }},
		{"WA_SEND", "max_age", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"KV_wa_sessions", "max_age", func(c *jetstream.StreamConfig) { c.MaxAge = 365 * day }},
		{"KV_wa_ledger", "max_age", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"OBJ_wa_media", "max_age", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{"WA_RECV", "duplicate_window", func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute }},
		{"WA_SEND", "max_consumers", func(c *jetstream.StreamConfig) { c.MaxConsumers = 5 }},
		{"WA_RECV", "allow_direct", func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		{"KV_wa_state", "allow_rollup_hdrs", func(c *jetstream.StreamConfig) { c.AllowRollup = false }},
		{"WA_RECV", "no_ack", func(c *jetstream.StreamConfig) { c.NoAck = true }},
		{"WA_RECV", "sealed", func(c *jetstream.StreamConfig) { c.Sealed = true }},
		{"WA_RECV", "mirror", func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "X"} }},
		{"WA_SEND", "allow_msg_ttl", func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }},
		{"WA_RECV", "persist_mode", func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }},
		{"WA_RECV", "num_replicas", func(c *jetstream.StreamConfig) { c.Replicas = 3 }},
	} {
		t.Run(test.stream+" "+test.field, func(t *testing.T) {
			wanted := byName(test.stream)
			found := wanted
			if wanted.SubjectTransform != nil {
				transform := *wanted.SubjectTransform
				found.SubjectTransform = &transform
			}
			if err := check(wanted, found, 1); err != nil {
				t.Fatalf("the same is refused: %v", err)
			}
			test.change(&found)
			contradicts(t, check(wanted, found, 1), test.field)
		})
	}
}

func TestWhatAnOperatorMayChooseIsAccepted(t *testing.T) {
	s := bridgetest.NATS(t)
	js := s.JetStream(t)
	names, err := bridge.NewNames("wa")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Specs(names, 8, 1)[:3] {
		c.MaxAge *= 2
		c.Duplicates *= 2
		c.MaxBytes = 1 << 30
		c.Compression = jetstream.S2Compression
		c.MaxConsumers = -1
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	kv := jetstream.KeyValueConfig{Bucket: "wa_sessions", Storage: jetstream.FileStorage, History: 5}
	if _, err := js.CreateKeyValue(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	media := jetstream.ObjectStoreConfig{Bucket: "wa_media", TTL: 30 * day}
	if _, err := js.CreateObjectStore(t.Context(), media); err != nil {
		t.Fatal(err)
	}
	b := open(t, s)
	if b.Shards() != 8 {
		t.Errorf("shards = %d, want the 8 of the stream that was there", b.Shards())
	}
}

func TestEnsureRefusesAndNeverEdits(t *testing.T) {
	s := bridgetest.NATS(t)
	js := s.JetStream(t)
	names, err := bridge.NewNames("wa")
	if err != nil {
		t.Fatal(err)
	}
	recv := Specs(names, 32, 1)[1]
	recv.MaxAge, recv.Duplicates = time.Hour, time.Minute
	if _, err := js.CreateStream(t.Context(), recv); err != nil {
		t.Fatal(err)
	}
	b := dial(t, s)
	err = b.Ensure(t.Context())
	contradicts(t, err, "max_age")
	if !strings.Contains(err.Error(), "duplicate_window") {
		t.Errorf("%q reports the first fault only", err)
	}
	stream, err := js.Stream(t.Context(), "WA_RECV")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.MaxAge; got != time.Hour {
		t.Errorf("max_age = %v: the stream was edited", got)
	}
}

func TestEnsureRefusesAnotherNumberOfShards(t *testing.T) {
	s := bridgetest.NATS(t)
	open(t, s, func(c *Config) { c.Shards = 4 })
	b := dial(t, s, func(c *Config) { c.Shards = 8 })
	contradicts(t, b.Ensure(t.Context()), "shards")
}

func TestEnsureOnlyChecksWhereItDoesNotManage(t *testing.T) {
	s := bridgetest.NATS(t)
	b := dial(t, s, func(c *Config) { c.Manage = false })
	err := b.Ensure(t.Context())
	if !errors.Is(err, jetstream.ErrStreamNotFound) || !strings.Contains(err.Error(), "WA_SEND") {
		t.Errorf("error = %v, want that WA_SEND is missing", err)
	}
	if _, err := s.JetStream(t).Stream(t.Context(), "WA_SEND"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("WA_SEND: %v, want that it was not created", err)
	}
}

func TestEnsureNeedsJetStream(t *testing.T) {
	b := dial(t, bridgetest.NATS(t, bridgetest.NoJetStream()))
	if err := b.Ensure(t.Context()); !errors.Is(err, ErrNoJetStream) {
		t.Errorf("error on a server without JetStream = %v", err)
	}
	// The server has it, the account does not.
	s := bridgetest.NATS(t, bridgetest.Configure(func(o *server.Options) {
		plain := server.NewAccount("PLAIN")
		o.Accounts = []*server.Account{plain}
		o.Users = []*server.User{{Username: "u", Password: "p", Account: plain}}
	}))
	b = dial(t, s, func(c *Config) { c.URL = strings.Replace(s.URL(), "//", "//u:p@", 1) })
	if err := b.Ensure(t.Context()); !errors.Is(err, ErrNoJetStream) {
		t.Errorf("error on an account without JetStream = %v", err)
	}
}

func TestConnectRefusesAnOldServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, `INFO {"server_id":"X","version":"2.10.29","max_payload":1048576,"headers":true,"jetstream":true}`+"\r\n")
			// It answers the client's CONNECT and PING, and hangs up after it.
			r := bufio.NewReader(conn)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					break
				}
				if strings.HasPrefix(line, "PING") {
					fmt.Fprint(conn, "PONG\r\n")
				}
			}
			_ = conn.Close()
		}
	}()
	_, err = Connect(t.Context(), Config{URL: "nats://" + l.Addr().String()})
	if !errors.Is(err, ErrServerTooOld) || !strings.Contains(err.Error(), "2.10.29") {
		t.Errorf("error = %v, want that 2.10.29 is too old", err)
	}
}

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.14.0": true, "2.15.2": true, "3.0.0": true, "2.14.0-RC.1": true,
		"2.13.9": false, "2.9": false, "1.99.0": false, "": false, "x.y": false,
	} {
		if err := checkVersion(version); (err == nil) != ok {
			t.Errorf("checkVersion(%q) = %v", version, err)
		}
	}
}

func TestCompareChangesNothing(t *testing.T) {
	s := bridgetest.NATS(t)
	b := dial(t, s)
	wanted := b.Specs()[1]
	if _, err := b.Compare(t.Context(), wanted); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("comparing what is missing: %v", err)
	}
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := b.Compare(t.Context(), wanted); err != nil || info.Config.Name != wanted.Name {
		t.Errorf("comparing what was created: %+v, %v", info, err)
	}
	wanted.MaxAge *= 2
	_, err := b.Compare(t.Context(), wanted)
	contradicts(t, err, "max_age")
}
