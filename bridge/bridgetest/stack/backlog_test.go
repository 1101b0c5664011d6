package stack

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
	"wabridge/bridge/simulator"
)

var backlogCommands = flag.Int("backlog.commands", 4000, "commands that a session gets at once")

// neighbour is the id of another session in the shard of one.
func neighbour(session string) string {
	for i := 0; ; i++ {
		if id := "beside-" + strconv.Itoa(i); bridge.Shard(id, bridge.DefaultShards) == bridge.Shard(session, bridge.DefaultShards) {
			return id
		}
	}
}

// A session that is down, or that gets everything at once, has a backlog. The
// other session of its shard goes on meanwhile and loses nothing, and the
// backlog is drained in order and once each, through two kills of the process.
func TestBacklog(t *testing.T) {
	for _, c := range []struct {
		name string
		down bool
	}{{"down", true}, {"flooded", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			drainBacklog(t, c.down)
		})
	}
}

func drainBacklog(t *testing.T, down bool) {
	beside := neighbour(Demo)
	s := New(t, Config{Sessions: []string{Demo, beside}})
	s.Stop(t) // the test runs the built program instead
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(beside))
	quiet := &Load{Sessions: []string{Demo}, Messages: 600, Conversations: 10, Every: 8 * time.Millisecond}
	if down {
		s.fault(t, simulator.Fault{Kind: simulator.FaultHandshake, Session: beside, Code: 503, Count: -1})
	} else { // slow enough that the kills come in the middle
		s.fault(t, simulator.Fault{Kind: simulator.FaultDelayAnswer, Session: beside, Delay: simulator.Duration(20 * time.Millisecond), Count: -1})
	}
	env := s.Variables(Demo, beside)
	p := s.StartProcess(t, "one", env...)
	s.WaitState(t, Demo, bridge.Connected)
	quiet.Start(t, s)
	s.flood(t, beside, *backlogCommands)
	s.waitBacklog(t, beside, true)
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Sessions[Demo].Accepted > 100 }, "the quiet session waits for the flood")
	if down {
		s.Sim.RemoveFault("")
	}
	var log strings.Builder
	for _, part := range []int{3, 2} {
		bridgetest.Eventually(t, 4*patience, func() bool { return s.Sim.Stats().Sessions[beside].Accepted > *backlogCommands/part }, "the backlog is not drained")
		p.Kill()
		log.WriteString(p.log.String())
		p = s.StartProcess(t, "one", env...)
	}
	s.checkFlood(t, beside, statuses)
	quiet.Check(t)
	s.waitBacklog(t, beside, false)
	terminate(t, p)
	log.WriteString(p.log.String())
	if !strings.Contains(log.String(), `"session is live again","session":"`+beside+`","from"`) {
		t.Error("no log tells which session is live again")
	}
}

// floodPeers is how many users the commands of a flood go to.
const floodPeers = 50

// flood publishes commands as fast as JetStream takes them.
func (s *Stack) flood(t testing.TB, session string, commands int) {
	t.Helper()
	for i := range commands {
		m := nats.NewMsg(s.Names.Send(session))
		m.Header.Set(nats.MsgIdHdr, "flood-"+strconv.Itoa(i))
		m.Data = fmt.Appendf(nil, `{"to":"+1555%07d","text":"%d"}`, i%floodPeers, i)
		if _, err := s.JS.PublishMsgAsync(m, jetstream.WithStallWait(patience)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-s.JS.PublishAsyncComplete():
	case <-time.After(patience):
		t.Fatal("JetStream does not take the commands")
	}
}

// waitBacklog waits until a session has a backlog, or is live again.
func (s *Stack) waitBacklog(t testing.TB, session string, want bool) {
	t.Helper()
	kv, err := s.JS.KeyValue(t.Context(), s.Names.Bucket(broker.Backlog))
	if err != nil {
		t.Fatal(err)
	}
	bridgetest.Eventually(t, patience, func() bool {
		entry, err := kv.Get(t.Context(), session)
		if err != nil {
			return !want && errors.Is(err, jetstream.ErrKeyNotFound)
		}
		return want == (len(entry.Value()) > 0)
	}, "a backlog of %s: want %v", session, want)
}

// checkFlood waits until every command of a flood has its outcome, and checks
// that each has one, and was delivered once and in order.
func (s *Stack) checkFlood(t testing.TB, session string, statuses *Records) {
	t.Helper()
	outcomes := make(map[string]int)
	for len(outcomes) < *backlogCommands {
		switch ref, word := StatusOf(t, statuses.Next(t)); word {
		case "accepted":
			if outcomes[ref]++; outcomes[ref] > 1 {
				t.Errorf("%s has a second outcome", ref)
			}
		case "rejected", "expired", "unknown":
			t.Fatalf("%s is %s", ref, word)
		}
	}
	delivered := order{}
	sent, _ := s.Sim.Sent(session, 0, 2**backlogCommands)
	for _, m := range sent {
		delivered.add(t, m.Number, strings.TrimPrefix(refOf(t, m), "flood-"))
	}
	if len(sent) != *backlogCommands {
		t.Errorf("%d were delivered, want %d", len(sent), *backlogCommands)
	}
	s.checkProtocol(t)
}
