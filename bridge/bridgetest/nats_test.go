package bridgetest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestServerKeepsItsStoreAndPortOverARestart(t *testing.T) {
	s := NATS(t, MaxPayload(64<<10), SyncAlways(), MaxStore(64<<20))
	js := s.JetStream(t)
	if got := js.Conn().MaxPayload(); got != 64<<10 {
		t.Errorf("max_payload = %d, want 65536", got)
	}
	config := jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	was := s.URL()
	s.Restart(t)
	if s.URL() != was {
		t.Errorf("URL after the restart = %s, want %s", s.URL(), was)
	}
	stream, err := s.JetStream(t).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("messages after the restart = %d, want 1", got)
	}
	s.Stop()
	Eventually(t, 10*time.Second, func() bool { return js.Conn().Status() == nats.RECONNECTING }, "client still connected")
}

func TestClusterSurvivesTheLossOfAStreamsLeader(t *testing.T) {
	c := Cluster(t, 3)
	js := c.JetStream(t)
	config := jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	var leader *Server
	Eventually(t, startTimeout, func() bool { leader = c.StreamLeader("S"); return leader != nil })
	leader.Stop()
	Eventually(t, startTimeout, func() bool {
		_, err := js.Publish(t.Context(), "s", nil)
		return err == nil
	}, "stream has no new leader")
	leader.Restart(t)
	c.AwaitLeader(t)
}
