package deploytest

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
)

// Without a password nothing starts, and without a name nobody gets in.
func TestNoPasswordHasADefault(t *testing.T) {
	environment(t)
	for _, user := range append(users(), "cluster") {
		t.Run(user, func(t *testing.T) {
			t.Setenv(variable(user), "") // so that it is set again afterwards
			if err := os.Unsetenv(variable(user)); err != nil {
				t.Fatal(err)
			}
			if _, err := server.ProcessConfigFile("../nats/nats.conf"); err == nil || !strings.Contains(err.Error(), variable(user)) {
				t.Errorf("got %v, want an error that names %s", err, variable(user))
			}
		})
	}
	closed := bridgetest.NATS(t, configured(t), alone(), bridgetest.Configure(func(o *server.Options) { o.NoAuthUser = "" }))
	nc, err := nats.Connect(closed.URL())
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("a client without a name: %v", err)
		nc.Close()
	}
}

// Three nodes of nats.conf form a cluster that flushes each write, and on it the
// bridge creates three copies of everything.
func TestClusterOfThree(t *testing.T) {
	environment(t)
	c := bridgetest.Cluster(t, 3, configured(t), bridgetest.Configure(func(o *server.Options) {
		if !o.SyncAlways || !o.JetStream || o.Cluster.Name != "wabridge" || o.Cluster.Username != "cluster" || len(o.Routes) != 2 {
			t.Errorf("the configuration says otherwise: sync %v, JetStream %v, cluster %+v, routes %v", o.SyncAlways, o.JetStream, o.Cluster, o.Routes)
		}
	}))
	b, err := broker.Connect(t.Context(), broker.Config{
		URL: as("bridge", c.URL()), InboxPrefix: "_INBOX_bridge", Manage: true,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Health(t.Context()); err != nil {
		t.Error(err)
	}
	for _, spec := range b.Specs() {
		stream, err := b.JetStream().Stream(t.Context(), spec.Name)
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("%s has %d copies", spec.Name, n)
		}
	}
}

func TestPublisherMayPublishItsSessionAlone(t *testing.T) {
	environment(t)
	n := bridgetest.NATS(t, configured(t), alone())
	s, _ := bridgeOn(t, n, nil)
	c := connect(t, "publisher", n)
	js, err := jetstream.New(c.Conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), s.Names.Send("demo"), []byte(`{"to":"+15550142233","text":"hello"}`)); err != nil {
		t.Fatal(err)
	}
	c.granted(t)
	for _, subject := range []string{
		"wa.send.other", "wa.recv.demo", "wa.status.demo", "wa.event.demo", "wa.dead.demo", "wa.outbox.1.demo",
		"$KV.wa_sessions.demo", "$KV.wa_owners.shard.1", "$O.wa_media.C.x", "$JS.API.STREAM.INFO.WA_SEND",
		"$JS.API.STREAM.MSG.GET.WA_RECV", "$JS.API.CONSUMER.CREATE.WA_RECV.x.wa.recv.demo", "$SRV.PING",
	} {
		c.refused(t, "publishing to "+subject, func() error { return c.Publish(subject, []byte("{}")) })
	}
	for _, subject := range []string{">", "wa.recv.demo", "wa.send.demo", "_INBOX.>", "_INBOX_bridge.>"} {
		c.refused(t, "subscribing to "+subject, func() error {
			_, err := c.SubscribeSync(subject)
			return err
		})
	}
}

func TestConsumerMayReadItsSessionAlone(t *testing.T) {
	environment(t)
	n := bridgetest.NATS(t, configured(t), alone())
	s, _ := bridgeOn(t, n, nil)
	if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"hi there"}`)); err != nil {
		t.Fatal(err)
	}
	c := connect(t, "consumer", n)
	js, err := jetstream.New(c.Conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"recv", "status", "event"} {
		own, err := js.CreateOrUpdateConsumer(t.Context(), "WA_RECV", jetstream.ConsumerConfig{
			Durable: "demo-" + kind, FilterSubject: "wa." + kind + ".demo", AckPolicy: jetstream.AckExplicitPolicy,
		})
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if kind != "recv" {
			continue
		}
		m, err := own.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(m.Data()), "hi there") {
			t.Errorf("got %s", m.Data())
		}
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Error(err)
		}
	}
	c.granted(t)

	// What the subject says and what the request says must agree.
	for _, filter := range []string{`"filter_subject":"wa.recv.other"`, `"filter_subjects":["wa.recv.>"]`, `"deliver_policy":"all"`} {
		answer, err := c.Request("$JS.API.CONSUMER.CREATE.WA_RECV.demo-recv.wa.recv.demo",
			[]byte(`{"stream_name":"WA_RECV","action":"update","config":{"durable_name":"demo-recv","name":"demo-recv","ack_policy":"explicit",`+filter+`}}`), patience)
		if err != nil || !strings.Contains(string(answer.Data), `"error"`) {
			t.Errorf("a consumer with %s: %v", filter, err)
		}
	}
	for _, subject := range []string{
		"$JS.API.CONSUMER.CREATE.WA_RECV.demo-recv", "$JS.API.CONSUMER.CREATE.WA_RECV.demo-recv.wa.recv.other",
		"$JS.API.CONSUMER.CREATE.WA_RECV.x.wa.recv.demo", "$JS.API.CONSUMER.CREATE.WA_SEND.demo-recv.wa.recv.demo",
		"$JS.API.CONSUMER.MSG.NEXT.WA_RECV.other", "$JS.API.CONSUMER.DELETE.WA_RECV.demo-recv",
		"$JS.API.STREAM.MSG.GET.WA_RECV", "$JS.API.DIRECT.GET.WA_RECV", "$JS.API.STREAM.PURGE.WA_RECV",
		"wa.send.demo", "wa.recv.demo", "$KV.wa_sessions.demo", "$SRV.PING",
	} {
		c.refused(t, "publishing to "+subject, func() error { return c.Publish(subject, []byte("{}")) })
	}
	for _, subject := range []string{"wa.recv.demo", "_INBOX.>", "_INBOX_publisher.>"} {
		c.refused(t, "subscribing to "+subject, func() error {
			_, err := c.SubscribeSync(subject)
			return err
		})
	}
}

// The admin reads and repairs, but does not speak for the bridge.
func TestAdminCannotForge(t *testing.T) {
	environment(t)
	c := connect(t, "admin", bridgetest.NATS(t, configured(t), alone()))
	for _, subject := range []string{"wa.recv.demo", "wa.status.demo", "wa.event.demo", "wa.dead.demo"} {
		c.refused(t, "publishing to "+subject, func() error { return c.Publish(subject, []byte("{}")) })
	}
	if _, err := c.SubscribeSync("wa.recv.*"); err != nil {
		t.Error(err)
	}
	c.granted(t)
}
