package deploytest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/bridgetest/stack"
	"wabridge/bridge/broker"
)

// With the grants of accounts.conf the bridge does all that it does.
func TestBridgeNeedsNoMoreThanItsGrants(t *testing.T) {
	environment(t)
	n := bridgetest.NATS(t, configured(t), alone())
	log := new(output)
	s, addr := bridgeOn(t, n, log)
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status("*"))
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv("*"))
	dead := s.Follow(t, s.Names.DeadStream(), s.Names.Dead("*"))
	for _, ref := range []string{"first", "second"} {
		s.Publish(t, stack.Demo, ref, `{"to":"+15550142233","text":"hello"}`)
		statuses.Statuses(t, ref, 4)
		s.Stop(t) // the shards are handed over, and taken again with what they hold
		s.Start(t)
	}
	s.Publish(t, stack.Demo, "bad", `{}`)
	dead.Next(t)
	if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"hi"}`)); err != nil {
		t.Fatal(err)
	}
	received.Next(t)
	ask(t, connect(t, "admin", n))
	exercise(t, n)
	bridgetest.Eventually(t, patience, func() bool {
		status, _ := get(t, addr, "/readyz")
		return status == http.StatusOK
	}, "the bridge is not ready")
	if strings.Contains(log.String(), "refused permission") {
		t.Errorf("something was refused:\n%s", log)
	}
}

// ask has the admin use each endpoint of the bridge's micro service.
func ask(t *testing.T, admin *client) {
	t.Helper()
	for _, one := range []struct{ subject, body string }{
		{"$SRV.PING.wabridge", ""},
		{"wa.ctl.status", ""},
		{"wa.ctl.pause.demo", ""},
		{"wa.ctl.resume.demo", ""},
		{"wa.ctl.send.demo", `{"to":"+15550142233","text":"hello"}`},
		{"wa.ctl.redrive.demo", "1"},
	} {
		answer, err := admin.Request(one.subject, []byte(one.body), patience)
		if err != nil {
			t.Errorf("%s: %v", one.subject, err)
			continue
		}
		if fault := answer.Header.Get("Nats-Service-Error"); fault != "" {
			t.Errorf("%s: %s", one.subject, fault)
		}
	}
	admin.granted(t)
}

// exercise does as the bridge's user what a quiet session does not.
func exercise(t *testing.T, n *bridgetest.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	b, err := broker.Connect(ctx, broker.Config{URL: as("bridge", n.URL()), InboxPrefix: "_INBOX_bridge"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	must("ensuring", b.Ensure(ctx))
	for _, kind := range []string{broker.Sessions, broker.Owners, broker.Backlog, broker.Ledger, broker.Tokens, broker.State, broker.Uploads} {
		kv, err := b.KV(ctx, kind)
		if err != nil {
			t.Fatal(err)
		}
		revision, err := kv.Create(ctx, "of-a-test", []byte("1"))
		must("creating in "+kind, err)
		if _, err := kv.Create(ctx, "of-a-test", []byte("1")); !errors.Is(err, bridge.ErrConflict) {
			t.Errorf("creating twice in %s: %v", kind, err)
		}
		_, err = kv.Update(ctx, "of-a-test", []byte("2"), revision)
		must("updating in "+kind, err)
		_, err = kv.Get(ctx, "of-a-test")
		must("reading in "+kind, err)
		must("deleting in "+kind, kv.Delete(ctx, "of-a-test"))
	}
	for _, kind := range []string{broker.Sessions, broker.Backlog, broker.State} {
		kv, err := b.KV(ctx, kind)
		if err != nil {
			t.Fatal(err)
		}
		_, err = kv.All(ctx)
		must("listing "+kind, err)
	}
	exerciseStreams(ctx, t, b)
	exerciseMedia(ctx, t, b)
	must("health", b.Health(ctx))
}

func exerciseStreams(ctx context.Context, t *testing.T, b *broker.Broker) {
	t.Helper()
	commands, err := b.ReadSend(ctx, stack.Demo, 1, 10)
	if err != nil || len(commands) != 5 {
		t.Errorf("reading a backlog: %d commands, %v", len(commands), err)
	}
	if commands, err = b.ReadSend(ctx, "nobody", 1, 10); err != nil || len(commands) != 0 {
		t.Errorf("reading an empty backlog: %d commands, %v", len(commands), err)
	}
	if _, _, err := b.LastSends(ctx, 0); err != nil {
		t.Error(err)
	}
	if _, _, _, err := b.Outcome(ctx, 1); err != nil {
		t.Errorf("reading an outcome: %v", err)
	}
	stored := 0
	if err := b.ScanRecv(ctx, 1, func(string, map[string][]string) error { stored++; return nil }); err != nil || stored == 0 {
		t.Errorf("scanning: %d records, %v", stored, err)
	}
	if end, err := b.RecvEnd(ctx); err != nil || end == 0 {
		t.Errorf("the end: %d, %v", end, err)
	}
	if found, err := b.FindRecv(ctx, stack.Demo, time.Unix(0, 0), "no such id"); err != nil || found {
		t.Errorf("finding: %v, %v", found, err)
	}
	if _, err := b.JetStream().Publish(ctx, b.Names().Send(stack.Demo), []byte(`{}`), jetstream.WithMsgID("again")); err != nil {
		t.Errorf("sending a dead letter again: %v", err)
	}
}

func exerciseMedia(ctx context.Context, t *testing.T, b *broker.Broker) {
	t.Helper()
	media, err := b.Media(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	for range 2 { // the second time its copy is deleted
		info, err := media.Put(ctx, strings.NewReader(strings.Repeat("a picture ", 100_000)), nil)
		if err != nil {
			t.Fatal(err)
		}
		name = info.Name
	}
	r, _, err := media.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	size, err := io.Copy(io.Discard, r)
	if closed := r.Close(); err != nil || closed != nil || size != 1_000_000 {
		t.Errorf("read %d bytes: %v, %v", size, err, closed)
	}
}

// The rows that create streams can be taken out where an operator creates them.
func TestBridgeWithoutCreateGrants(t *testing.T) {
	environment(t)
	n := bridgetest.NATS(t, configured(t), alone())
	connectAs := func(user string, manage bool) *broker.Broker {
		b, err := broker.Connect(t.Context(), broker.Config{URL: as(user, n.URL()), InboxPrefix: "_INBOX_" + user, Manage: manage})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return b
	}
	bridgeUser := connectAs("bridge", false)
	if err := bridgeUser.Ensure(t.Context()); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("with nothing there: %v", err)
	}
	if err := connectAs("admin", true).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := bridgeUser.Ensure(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is not granted is refused, and the check "nats" of /readyz says so.
func TestReadinessNamesWhatIsRefused(t *testing.T) {
	environment(t)
	for grant, do := range map[string]func(context.Context, *broker.Broker){
		"wa.status.*": func(ctx context.Context, b *broker.Broker) {
			// It waits for an answer until the store is closed.
			_ = b.NewStore(stack.Demo).Put(ctx, &bridge.Record{Subject: b.Names().Status(stack.Demo), Body: []byte("{}")})
		},
		"$KV.wa_owners.>": func(ctx context.Context, b *broker.Broker) {
			if kv, err := b.KV(ctx, broker.Owners); err == nil {
				_, _ = kv.Put(ctx, "replica.one", []byte("{}")) // it is refused
			}
		},
		"$JS.API.CONSUMER.CREATE.WA_SEND.>": func(ctx context.Context, b *broker.Broker) {
			_, _ = b.Consume(ctx, 1, func(*bridge.Delivery) {}) // it is refused
		},
	} {
		t.Run(grant, func(t *testing.T) {
			n := bridgetest.NATS(t, configured(t), alone(), without(t, "bridge", grant))
			b, err := broker.Connect(t.Context(), broker.Config{
				URL: as("bridge", n.URL()), InboxPrefix: "_INBOX_bridge", Manage: true, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var doing sync.WaitGroup
			defer func() {
				cancel()
				doing.Wait()
				closing, done := context.WithTimeout(context.Background(), time.Second)
				defer done()
				_ = b.Close(closing) // what was refused is not stored
			}()
			if err := b.Ensure(ctx); err != nil {
				t.Fatal(err)
			}
			if err := b.Health(ctx); err != nil {
				t.Fatalf("before anything is refused: %v", err)
			}
			doing.Go(func() { do(ctx, b) })
			says := "refused permission"
			subject := strings.TrimRight(grant, ".*>")
			bridgetest.Eventually(t, patience, func() bool {
				err := b.Health(ctx)
				return err != nil && strings.Contains(err.Error(), says) && strings.Contains(err.Error(), "publish to "+subject)
			}, "readiness does not name %s", grant)
		})
	}
}
