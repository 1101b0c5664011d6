package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
)

// NATS restarts again and again under load: nothing is lost, doubled or out of
// order, and the sessions stay connected.
func TestFaultNATSRestarts(t *testing.T) {
	t.Parallel()
	s := New(t, Config{})
	load := &Load{Sessions: []string{Demo}, Messages: 600, Conversations: 20, Every: 3 * time.Millisecond}
	load.startThrough(t, s)
	for range 3 {
		<-time.After(400 * time.Millisecond)
		s.NATS.Restart(t)
	}
	load.Check(t)
	if got := s.Sim.Stats().Connections; got != 1 {
		t.Errorf("there were %d connections to the platform, want one", got)
	}
}

// In a cluster the leaders step down and a server goes away under load: nothing
// is lost, doubled or out of order.
func TestFaultLeaderLoss(t *testing.T) {
	t.Parallel()
	servers := bridgetest.Cluster(t, 3)
	s := New(t, Config{NATS: servers.Nodes[0], App: func(c *app.Config) { c.Broker.URL = servers.URL() }})
	load := &Load{Sessions: []string{Demo}, Messages: 500, Conversations: 20, Every: 6 * time.Millisecond}
	load.startThrough(t, s)
	for _, stream := range []string{s.Names.SendStream(), s.Names.RecvStream(), "KV_" + s.Names.Bucket("owners")} {
		<-time.After(300 * time.Millisecond)
		stepDown(t, s, stream)
	}
	var led *bridgetest.Server
	bridgetest.Eventually(t, patience, func() bool {
		led = servers.StreamLeader(s.Names.RecvStream())
		return led != nil
	}, "the stream of what is received has no leader")
	led.Stop()
	<-time.After(500 * time.Millisecond)
	led.Restart(t)
	load.Check(t)
}

func stepDown(t testing.TB, s *Stack, stream string) {
	t.Helper()
	bridgetest.Eventually(t, patience, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := s.JS.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
		return err == nil
	}, "the leader of %s does not step down", stream)
}

// JetStream runs out of storage: nothing is acked to the platform, the bridge is
// not ready, and when there is room again everything goes on by itself.
func TestFaultJetStreamFull(t *testing.T) {
	t.Parallel()
	admin := bridgetest.FreeAddr(t)
	s := New(t, Config{
		Options: []bridgetest.Option{bridgetest.MaxStore(16 << 20)},
		App:     func(c *app.Config) { c.AdminAddr = admin },
	})
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	bridgetest.Eventually(t, patience, func() bool { return ready(admin) }, "the bridge is not ready")
	fill(t, s)

	const messages = 200
	for i := range messages {
		if _, err := s.Sim.Write("15550142233", fmt.Appendf(nil, `{"session":"demo","text":"kept %d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	bridgetest.Eventually(t, patience, func() bool { return !ready(admin) }, "the bridge is ready while JetStream takes nothing")
	if got := s.Sim.Stats().Sessions[Demo].Unacked; got == 0 {
		t.Error("everything was acked to the platform while JetStream took nothing")
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.JS.DeleteStream(ctx, filler); err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		if m := received.Next(t); !strings.Contains(string(m.Data()), fmt.Sprintf(`"kept %d"`, i)) {
			t.Fatalf("message %d is %s", i, m.Data())
		}
	}
	bridgetest.Eventually(t, patience, func() bool { return ready(admin) }, "the bridge is not ready again")
	s.WaitState(t, Demo, bridge.Connected)
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	s.Publish(t, Demo, "goes on", `{"to":"+15550142233","text":"still here"}`)
	if words := statuses.Statuses(t, "goes on", 4); words[0] != "accepted" || words[3] != "read" {
		t.Errorf("the command's statuses are %v", words)
	}
}

const filler = "FILLER"

// fill takes all of the storage that JetStream has.
func fill(t testing.TB, s *Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.JS.CreateStream(ctx, jetstream.StreamConfig{Name: filler, Subjects: []string{"filler"}}); err != nil {
		t.Fatal(err)
	}
	for size := 256 << 10; size >= 64; {
		_, err := s.JS.Publish(ctx, "filler", make([]byte, size))
		var full *jetstream.APIError
		switch {
		case errors.As(err, &full):
			size /= 4 // smaller ones still fit
		case err != nil:
			t.Fatalf("filling JetStream: %v", err)
		}
	}
}

// ready asks a replica.
func ready(admin string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", nil)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}
