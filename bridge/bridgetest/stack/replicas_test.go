package stack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
)

// shops are n session ids.
func shops(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("shop-%d", i)
	}
	return ids
}

// sessionsBucket is KV wa_sessions.
func (s *Stack) sessionsBucket(t testing.TB) jetstream.KeyValue {
	t.Helper()
	kv, err := s.JS.KeyValue(t.Context(), s.Names.Bucket(broker.Sessions))
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// define puts a session into KV wa_sessions; its secret is in the variable
// TEST_CLIENT_SECRET of the bridge.
func (s *Stack) define(t testing.TB, kv jetstream.KeyValue, id string, change func(*bridge.Definition)) {
	t.Helper()
	def := s.Definitions(id)[0]
	def.ClientSecret = "env:TEST_CLIENT_SECRET"
	if change != nil {
		change(&def)
	}
	value, err := json.Marshal(def)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), id, value); err != nil {
		t.Fatal(err)
	}
}

// Three replicas share 60 sessions under load. One is killed, one is terminated,
// one is added: every session lives on, nothing is lost, doubled or out of
// order.
func TestReplicas(t *testing.T) {
	ids := shops(60)
	s := New(t, Config{Sessions: ids})
	s.Stop(t)
	connected := func() int { return s.Sim.Stats().Connected }
	env := append(s.Variables(ids...), "TEST_CLIENT_SECRET="+clientSecret)
	a, b := s.StartProcess(t, "a", env...), s.StartProcess(t, "b", env...)
	s.StartProcess(t, "c", env...)
	all := func(what string) {
		t.Helper()
		from := time.Now()
		bridgetest.Eventually(t, patience, func() bool { return connected() == len(ids) }, "after %s not every session is connected", what)
		t.Logf("all %d sessions connected %v after %s", len(ids), time.Since(from).Round(time.Millisecond), what)
	}
	all("the start")
	load := &Load{Sessions: ids, Messages: 2400, Conversations: 3, Every: 3 * time.Millisecond}
	load.Start(t, s)
	<-time.After(time.Second)
	a.Kill()
	bridgetest.Eventually(t, patience, func() bool { return connected() < len(ids) }, "the simulator did not notice the kill")
	all("kill -9")
	<-time.After(500 * time.Millisecond)
	terminate(t, b)
	all("SIGTERM")
	s.StartProcess(t, "d", env...)
	<-time.After(2 * time.Second)
	all("a new replica")
	load.Check(t)
}

// Someone else's connection takes the place of a session that this replica owns,
// as that of a replica does which does not know yet that it lost the session, and
// goes. The session takes its place back.
func TestReplacedSessionTakesItsPlaceBack(t *testing.T) {
	s := New(t, Config{})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status("*"))
	thief := s.steal(t, Demo)
	s.WaitState(t, Demo, bridge.Replaced)
	if err := thief.Close(); err != nil {
		t.Fatal(err)
	}
	s.Publish(t, Demo, "one", `{"to":"+15550142233","text":"x"}`)
	s.WaitState(t, Demo, bridge.Connected)
	statuses.Until(t, func(m natsMsg) bool { ref, word := StatusOf(t, m); return ref == "one" && word == "accepted" })
}

// steal connects to the simulator as a session, with a token of its own.
func (s *Stack) steal(t testing.TB, session string) *websocket.Conn {
	t.Helper()
	source, err := auth.NewClientCredentials(auth.Config{
		TokenURL: "http://" + s.SimAddr + "/oauth/token", ClientID: clientID, ClientSecret: clientSecret,
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dialer := websocket.Dialer{Subprotocols: []string{"cloudevents.json"}}
	conn, answer, err := dialer.DialContext(t.Context(), "ws://"+s.SimAddr+"/v1/sessions/"+session+"/ws",
		http.Header{"Authorization": {"Bearer " + token.AccessToken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A session defined in KV wa_sessions starts at once; changed, it starts again;
// paused, it waits; deleted, it stops. A faulty definition harms no other.
func TestLiveSessions(t *testing.T) {
	t.Setenv("TEST_CLIENT_SECRET", clientSecret)
	s := New(t, Config{Sessions: []string{Demo, "late"}})
	// The kit runs both by configuration; a third exists only in the bucket.
	if err := s.Sim.AddSession(s.simSession("live")); err != nil {
		t.Fatal(err)
	}
	kv := s.sessionsBucket(t)
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status("*"))
	from := time.Now()
	s.define(t, kv, "live", nil)
	s.WaitState(t, "live", bridge.Connected)
	t.Logf("connected %v after its definition", time.Since(from).Round(time.Millisecond))
	s.Publish(t, "live", "live-1", `{"to":"+15550142233","text":"x"}`)
	statuses.Until(t, func(m natsMsg) bool { ref, word := StatusOf(t, m); return ref == "live-1" && word == "accepted" })

	s.define(t, kv, "live", func(d *bridge.Definition) { d.Paused = true })
	s.WaitState(t, "live", bridge.Paused)
	s.Publish(t, "live", "live-2", `{"to":"+15550142233","text":"x"}`)
	s.Publish(t, Demo, "demo-1", `{"to":"+15550142233","text":"x"}`)
	statuses.Until(t, func(m natsMsg) bool { ref, word := StatusOf(t, m); return ref == "demo-1" && word == "accepted" })
	s.define(t, kv, "live", nil)
	statuses.Until(t, func(m natsMsg) bool { ref, word := StatusOf(t, m); return ref == "live-2" && word == "accepted" })

	if _, err := kv.Put(t.Context(), "broken", []byte(`{"platform":"chatapi","client_secret":"hunter2-hunter2"}`)); err != nil {
		t.Fatal(err)
	}
	s.WaitState(t, "broken", bridge.Stopped)
	last, err := s.lastState("broken")
	if err != nil || !contains(last.Data, "client_secret") || contains(last.Data, "hunter2") {
		t.Errorf("the state of a faulty definition: %s, %v", last.Data, err)
	}
	if err := kv.Delete(t.Context(), "live"); err != nil {
		t.Fatal(err)
	}
	s.WaitState(t, "live", bridge.Stopped)

	// A session of the configuration can be paused too.
	if _, err := kv.Put(t.Context(), "late", []byte(`{"paused":true}`)); err != nil {
		t.Fatal(err)
	}
	s.WaitState(t, "late", bridge.Paused)
	if err := kv.Delete(t.Context(), "late"); err != nil {
		t.Fatal(err)
	}
	s.WaitState(t, "late", bridge.Connected)
	s.WaitState(t, Demo, bridge.Connected)
}
