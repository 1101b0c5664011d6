package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

func TestConnectWaitsForAServerThatIsNotUp(t *testing.T) {
	s := bridgetest.NATS(t)
	s.Stop()
	url := s.URL()
	type result struct {
		b   *Broker
		err error
	}
	connected := make(chan result)
	go func() {
		b, err := Connect(t.Context(), Config{URL: url})
		connected <- result{b, err}
	}()
	s.Restart(t)
	r := <-connected
	if r.err != nil {
		t.Fatal(r.err)
	}
	if err := r.b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A connection that is cut on the way is no reason to give up: a server, or what
// stands before it, may just begin or end.
func TestConnectGoesOnAfterACut(t *testing.T) {
	link, err := bridgetest.NewLink("NATS", strings.TrimPrefix(bridgetest.NATS(t).URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	link.Refuse()
	waits := make(chan struct{})
	log := slog.New(slog.NewTextHandler(writerFunc(func(line []byte) (int, error) {
		if strings.Contains(string(line), "waiting for NATS") {
			close(waits)
		}
		return len(line), nil
	}), nil))
	go func() {
		<-waits
		link.Heal()
	}()
	b, err := Connect(t.Context(), Config{URL: "nats://" + link.Addr(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestConnectGivesUpAfterItsWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "nats://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	_, err = Connect(t.Context(), Config{URL: url, StartWait: 300 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil {
		t.Error("connected to nothing")
	}
	if strings.Count(log.String(), "waiting for NATS") != 1 {
		t.Errorf("it says once what it waits for; log:\n%s", log.String())
	}
}

func TestConnectThatIsToldToStopSaysSo(t *testing.T) {
	s := bridgetest.NATS(t)
	s.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Connect(ctx, Config{URL: s.URL(), Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("error = %v, want that it was told to stop, and what it waited for", err)
	}
}

func TestConnectDoesNotRetryARefusedUser(t *testing.T) {
	s := bridgetest.NATS(t, bridgetest.Configure(func(o *server.Options) { o.Username, o.Password = "u", "p" }))
	_, err := Connect(t.Context(), Config{URL: strings.Replace(s.URL(), "//", "//u:wrong@", 1), StartWait: time.Hour})
	if err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("error = %v, want a refusal that tells no password", err)
	}
}

func TestConnectByNKeyAndByContext(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seedFile := filepath.Join(t.TempDir(), "seed.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	// The user may subscribe to its own inbox only.
	s := bridgetest.NATS(t, bridgetest.Configure(func(o *server.Options) {
		o.Nkeys = []*server.NkeyUser{{Nkey: public, Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_wab.>"}},
		}}}
	}))
	b := open(t, s, func(c *Config) { c.NKey, c.InboxPrefix = seedFile, "_INBOX_wab" })
	if err := b.Health(t.Context()); err != nil {
		t.Error(err)
	}
	contextFile := filepath.Join(t.TempDir(), "prod.json")
	content := fmt.Sprintf(`{"url":%q,"nkey":%q,"inbox_prefix":"_INBOX_wab"}`, s.URL(), seedFile)
	if err := os.WriteFile(contextFile, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(t, s, func(c *Config) { c.URL, c.Context = "", contextFile })
	if err := b.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := Connect(t.Context(), Config{URL: s.URL(), NKey: contextFile}); err == nil {
		t.Error("a file that holds no seed was taken")
	}
}

func TestBrokerWorksInADomain(t *testing.T) {
	s := bridgetest.NATS(t, bridgetest.Configure(func(o *server.Options) { o.JetStreamDomain = "edge" }))
	b := open(t, s, func(c *Config) { c.Domain = "edge" })
	store, r := b.NewStore("shop"), newRecorder()
	if err := store.Put(t.Context(), r.record("shop", 0, nil)); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.inOrder(t, 1)
	if _, _, _, err := b.Outcome(t.Context(), 1); err != nil {
		t.Error(err)
	}
	kv := bucket(t, b, State)
	if revision, err := kv.Put(t.Context(), "a", []byte("x")); err != nil || revision != 1 {
		t.Errorf("writing a key: revision %d, %v", revision, err)
	}
	if all, err := kv.All(t.Context()); err != nil || len(all) != 1 || all[0].Key != "a" {
		t.Errorf("the bucket holds %v, %v", all, err)
	}
	send(t, b.JetStream(), "shop", 0, 1)
	var got collector
	c, err := b.Consume(t.Context(), bridge.Shard("shop", b.Shards()), got.take)
	if err != nil {
		t.Fatal(err)
	}
	got.await(t, 1)
	stop(t, c)
}
