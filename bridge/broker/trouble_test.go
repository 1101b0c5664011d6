package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// alarm counts the warnings that a broker logs.
type alarm struct {
	slog.Handler
	warnings atomic.Int64
}

func newAlarm() *alarm { return &alarm{Handler: slog.DiscardHandler} }

func (a *alarm) Enabled(context.Context, slog.Level) bool { return true }

func (a *alarm) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		a.warnings.Add(1)
	}
	return nil
}

func TestStoreWaitsWhileJetStreamIsOutOfStorage(t *testing.T) {
	s := bridgetest.NATS(t, bridgetest.MaxStore(4<<20))
	a := newAlarm()
	b := open(t, s, func(c *Config) { c.Logger = slog.New(a) })
	js := s.JetStream(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FILL", Subjects: []string{"fill"}}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := js.Publish(t.Context(), "fill", make([]byte, 100<<10)); err != nil {
			break
		}
	}
	store, r := b.NewStore("shop"), newRecorder()
	const n = 200
	for i := range n {
		if err := store.Put(t.Context(), r.record("shop", i, make([]byte, 2<<10))); err != nil {
			t.Fatal(err)
		}
	}
	// What is in flight when the first is refused is refused too.
	bridgetest.Eventually(t, long, func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.phase == alone
	}, "the store does not notice that the server is full")
	if a.warnings.Load() != 1 || r.count() != 0 {
		t.Fatalf("%d warnings and %d records stored into a full server, want 1 and none", a.warnings.Load(), r.count())
	}
	if err := js.DeleteStream(t.Context(), "FILL"); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.inOrder(t, n)
	streamInOrder(t, js, "shop", n)
}

func TestRefusedPermissionMakesTheBrokerUnhealthy(t *testing.T) {
	permissions := &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"wa.recv.>"}}}
	s := bridgetest.NATS(t, bridgetest.Configure(func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: permissions}}
	}))
	b := open(t, s, func(c *Config) { c.URL = strings.Replace(s.URL(), "//", "//u:p@", 1) })
	if err := b.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	store, r := b.NewStore("shop"), newRecorder()
	if err := store.Put(t.Context(), r.record("shop", 0, nil)); err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, long, func() bool { return b.Health(t.Context()) != nil }, "still healthy")
	err := b.Health(t.Context())
	if !strings.Contains(err.Error(), "publish to wa.recv.>") || strings.Contains(err.Error(), "shop") {
		t.Errorf("error = %q, want what was refused, and no session", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("closing a store that cannot store: %v", err)
	}
}

func TestHealthNeedsTheServer(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	s.Stop()
	bridgetest.Eventually(t, long, func() bool { return b.Health(t.Context()) != nil }, "healthy without a server")
	s.Restart(t)
	bridgetest.Eventually(t, long, func() bool { return b.Health(t.Context()) == nil }, "not healthy again")
}

func TestRefusedNamesNoOneInPerson(t *testing.T) {
	for message, want := range map[string]string{
		`nats: permissions violation: Permissions Violation for Publish to "wa.recv.shop"`:               "publish to wa.recv.>",
		`nats: permissions violation: Permissions Violation for Publish to "$KV.wa_ledger.shop.49151"`:   "publish to $KV.wa_ledger.>",
		`nats: permissions violation: Permissions Violation for Subscription to "_INBOX.abc.*.*"`:        "subscribe to _INBOX.abc.>",
		`nats: permissions violation: Permissions Violation for Publish to "$JS.API.STREAM.INFO.WA_X.y"`: "publish to $JS.API.STREAM.INFO.WA_X.>",
		`nats: permissions violation: something else`:                                                    "publish to a subject",
	} {
		if got := refused(message); got != want {
			t.Errorf("refused(%s) = %s, want %s", message, got, want)
		}
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	err := Config{
		URL: "nats://user:secret@", Creds: "/nowhere/a", NKey: "/nowhere/b", Cert: "/nowhere/c",
		InboxPrefix: "a.>", Shards: -1, Replicas: 9, MaxBytes: -1,
	}.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, part := range []string{"URL", "creds and nkey", "cert and key", "/nowhere/a", "/nowhere/b", "/nowhere/c", "inbox prefix", "shards", "replicas", "max bytes"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("%q tells a password", err)
	}
	if err := (Config{Context: "x", URL: "nats://a:1"}).Validate(); err == nil {
		t.Error("a context and a URL: no fault found")
	}
	for _, ok := range []Config{{}, {URL: "nats://a:1, tls://b:2"}, {Context: "x"}, {InboxPrefix: "_INBOX_wab", Shards: 64, Replicas: 3}} {
		if err := ok.Validate(); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
	if _, err := Connect(t.Context(), Config{Shards: -1}); err == nil {
		t.Error("Connect took what Validate refuses")
	}
}

// stepDown makes a leader fall; its answer may fall with it.
func stepDown(t *testing.T, b *Broker, call string) {
	t.Helper()
	bridgetest.Eventually(t, long, func() bool {
		_, err := b.Conn().Request("$JS.API."+call, nil, time.Second)
		return err == nil
	}, "no leader steps down")
}

func TestStoreOnACopiedStreamKeepsOrderWhileLeadersFall(t *testing.T) {
	c := bridgetest.Cluster(t, 3)
	b := open(t, c)
	if !b.replicated.Load() {
		t.Fatal("the broker does not know that WA_RECV has copies")
	}
	const sessions, each = 2, 3000
	recorders := make([]*recorder, sessions)
	stores := make([]*Store, sessions)
	done := make(chan error, sessions)
	for i := range recorders {
		session := fmt.Sprintf("s%d", i)
		store, r := b.NewStore(session), newRecorder()
		recorders[i], stores[i] = r, store
		go func() {
			for n := range each {
				if err := store.Put(t.Context(), r.record(session, n, make([]byte, 100))); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for fall := range 4 {
		target := (fall + 1) * each / 6
		bridgetest.Eventually(t, long, func() bool { return recorders[0].count() >= target }, "stuck before %d", target)
		if fall == 3 {
			var leader *bridgetest.Server
			bridgetest.Eventually(t, long, func() bool { leader = c.StreamLeader("WA_RECV"); return leader != nil }, "no leader")
			leader.Restart(t)
			continue
		}
		stepDown(t, b, "STREAM.LEADER.STEPDOWN.WA_RECV")
	}
	for range sessions {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range recorders {
		if err := stores[i].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.inOrder(t, each)
		streamInOrder(t, c.JetStream(t), fmt.Sprintf("s%d", i), each)
		if stores[i].batches == 0 {
			t.Errorf("session %d wrote no batch", i)
		}
	}
	// A server that is stopped while it still takes its streams up leaves goroutines.
	c.AwaitLeader(t)
	for _, spec := range b.Specs() {
		bridgetest.Eventually(t, long, func() bool {
			info, err := b.Compare(t.Context(), spec)
			return err == nil && info.Cluster != nil && len(info.Cluster.Replicas) == 2 &&
				info.Cluster.Replicas[0].Current && info.Cluster.Replicas[1].Current
		}, "a copy of %s is behind", spec.Name)
	}
}

func TestReadsAndDeliveriesOnACopiedStream(t *testing.T) {
	c := bridgetest.Cluster(t, 3)
	b := open(t, c, func(c *Config) { c.Shards = 1 })
	js := c.JetStream(t)
	var got collector
	consumer, err := b.Consume(t.Context(), 0, got.take)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, consumer)
	const each = 50
	for round, subject := range []string{"STREAM.LEADER.STEPDOWN.WA_SEND", "CONSUMER.LEADER.STEPDOWN.WA_SEND.shard-0"} {
		send(t, js, "shop", round*each, each)
		stepDown(t, b, subject)
	}
	send(t, js, "shop", 2*each, each)
	bridgetest.Eventually(t, long, func() bool {
		all := got.all()
		return len(all) > 0 && all[len(all)-1].Sequence == 3*each
	}, "the last command was not delivered")
	passes(t, got.all(), 3*each)
	// What was just stored is read, whichever copy answers.
	for i := range 8 {
		send(t, js, "shop", 3*each+i, 1)
		read, err := b.ReadSend(t.Context(), "shop", uint64(3*each+i+1), 10)
		if err != nil || len(read) != 1 {
			t.Fatalf("read %d commands, %v, want the last", len(read), err)
		}
	}
	kv := bucket(t, b, Backlog)
	for i := range 8 {
		key := fmt.Sprint(i)
		revision, err := kv.Create(t.Context(), key, []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := kv.Get(t.Context(), key); err != nil || e.Revision != revision {
			t.Fatalf("Get behind Create = %+v, %v", e, err)
		}
		if _, err := kv.Update(t.Context(), key, nil, revision+1); !errors.Is(err, bridge.ErrConflict) {
			t.Fatalf("Update over a wrong revision: %v", err)
		}
		if all, err := kv.All(t.Context()); err != nil || len(all) != i+1 {
			t.Fatalf("All = %d entries, %v, want %d", len(all), err, i+1)
		}
	}
	media, err := b.Media(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		info, err := media.Put(t.Context(), strings.NewReader(fmt.Sprint("media ", i)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := media.Stat(t.Context(), info.Name); err != nil {
			t.Fatalf("Stat behind Put: %v", err)
		}
	}
}
