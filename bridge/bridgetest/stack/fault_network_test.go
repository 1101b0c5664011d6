package stack

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// Each direction of each connection is silent for a while, then the connections
// are cut, under load: nothing is lost, doubled or out of order.
func TestFaultOneWay(t *testing.T) {
	t.Parallel()
	s, toNATS, toPlatform := linked(t, Config{})
	load := &Load{Sessions: []string{Demo}, Messages: 800, Conversations: 20, Every: 8 * time.Millisecond}
	load.Start(t, s)
	for _, l := range []*bridgetest.Link{toNATS, toPlatform} {
		for _, hold := range []func(){l.HoldUp, l.HoldDown, l.Refuse} {
			<-time.After(200 * time.Millisecond)
			hold()
			<-time.After(time.Second)
			l.Heal()
		}
	}
	load.Check(t)
}

// noticed is how long a silent peer may go unnoticed, with some more for a busy
// machine.
const noticed = 40 * time.Second

// waitLost measures how long it takes until the session is no longer connected.
func waitLost(t testing.TB, s *Stack) time.Duration {
	t.Helper()
	begun := time.Now()
	bridgetest.Eventually(t, 2*noticed, func() bool {
		m, err := s.lastState(Demo)
		return err == nil && !contains(m.Data, `"state":"connected"`)
	}, "the lost connection is not noticed")
	return time.Since(begun)
}

// The network drops everything, or the platform hangs: noticed by the missing
// answers to pings, and the session goes on.
func TestFaultSilentPeer(t *testing.T) {
	t.Parallel()
	t.Run("dropped packets", func(t *testing.T) {
		t.Parallel()
		s, _, toPlatform := linked(t, Config{})
		toPlatform.HoldUp()
		toPlatform.HoldDown()
		if took := waitLost(t, s); took > noticed {
			t.Errorf("noticed after %v", took)
		}
		toPlatform.Refuse() // what was dropped does not come after all
		toPlatform.Heal()
		s.WaitState(t, Demo, bridge.Connected)
	})
	t.Run("hung platform", func(t *testing.T) {
		t.Parallel()
		s := New(t, Config{})
		if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultHang, Delay: simulator.Duration(2 * time.Minute)}); err != nil {
			t.Fatal(err)
		}
		if took := waitLost(t, s); took > noticed {
			t.Errorf("noticed after %v", took)
		}
		s.WaitState(t, Demo, bridge.Connected)
	})
}

// A platform that stops reading is noticed by the write that does not end; what
// was written goes again and is delivered once.
func TestFaultStalledReader(t *testing.T) {
	t.Parallel()
	const commands = 1100 // of 4,000 characters: more than the connection holds
	s, _, toPlatform := linked(t, Config{Simulator: func(c *simulator.Config) {
		for i := range c.Sessions {
			c.Sessions[i].Window = commands
		}
	}})
	text := strings.Repeat("x", 4000)
	toPlatform.HoldUp()
	for i := range commands {
		s.Publish(t, Demo, "stalled-"+strconv.Itoa(i), fmt.Sprintf(`{"to":"+1555%07d","text":"%s"}`, i, text))
	}
	// 10 s for the write, where a missing pong takes 30 s.
	if took := waitLost(t, s); took > 25*time.Second {
		t.Errorf("noticed after %v", took)
	}
	toPlatform.Heal()
	bridgetest.Eventually(t, 2*patience, func() bool { return s.Sim.Stats().Accepted >= commands }, "not everything is delivered")
	if sent, _ := s.Sim.Sent(Demo, 0, 10*commands); len(sent) != commands {
		t.Errorf("%d were delivered, want %d", len(sent), commands)
	}
}

// A session that ends, and loses its connection before all is stored, does not
// come back: that would throw out the next owner's.
func TestFaultLostWhileItEnds(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s, toNATS, toPlatform := linked(t, Config{Log: &log})
	toPlatform.HoldDown()
	s.Publish(t, Demo, "due", `{"to":"+15550142233","text":"is it there?"}`)
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Accepted == 1 }, "the command does not arrive")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Stop(t)
	}()
	// It waits for the answer.
	bridgetest.Eventually(t, patience, func() bool { return strings.Contains(log.String(), "session ends") }, "the session does not end")
	toNATS.HoldUp()
	toPlatform.Heal()
	<-time.After(300 * time.Millisecond) // it waits until the outcome is stored
	toPlatform.Cut()
	<-time.After(time.Second)
	if got := s.Sim.Stats().Connections; got != 1 {
		t.Errorf("there were %d connections, want one", got)
	}
	toNATS.Heal()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the bridge does not end")
	}
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	s.Start(t)
	if words := statuses.Statuses(t, "due", 4); words[0] != "accepted" {
		t.Errorf("the next one's statuses are %v", words)
	}
	if sent, _ := s.Sim.Sent(Demo, 0, 10); len(sent) != 1 {
		t.Errorf("%d were delivered, want one", len(sent))
	}
}

// A handshake that is never answered is given up, and the session tries again.
func TestFaultSlowHandshake(t *testing.T) {
	t.Parallel()
	s := New(t, Config{})
	for _, f := range []simulator.Fault{
		{Kind: simulator.FaultHandshake, Delay: simulator.Duration(2 * time.Minute)},
		{Kind: simulator.FaultCut},
	} {
		if _, err := s.Sim.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Connections == 2 }, "the session does not come back")
}

// Whoever sends a webhook slowly is cut off; the others are served meanwhile.
func TestFaultSlowWebhook(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI})
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	addr := strings.TrimSuffix(strings.TrimPrefix(s.WebhookURL(), "http://"), "/webhook")
	ended := make(chan string, 2)
	waiting := map[string]string{
		"header": "POST /webhook HTTP/1.1\r\nHost: bridge\r\nX-Slow: ",
		"body": "POST /webhook HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n" +
			"X-Hub-Signature-256: sha256=" + strings.Repeat("0", 64) + "\r\n\r\n{",
	}
	for name, begun := range waiting {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(begun)); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.Copy(io.Discard, conn) // until the other side ends it
			_ = conn.Close()
			ended <- name
		}()
	}
	if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"meanwhile"}`)); err != nil {
		t.Fatal(err)
	}
	received.Next(t)
	for len(waiting) > 0 {
		select {
		case name := <-ended:
			delete(waiting, name)
		case <-time.After(patience):
			t.Fatalf("slow senders keep their connections: %v", slices.Collect(maps.Keys(waiting)))
		}
	}
}

// A platform that takes every connection and closes it at once is not hammered.
func TestFaultReconnectStorm(t *testing.T) {
	t.Parallel()
	s := New(t, Config{})
	if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultClose, Count: -1}); err != nil {
		t.Fatal(err)
	}
	<-time.After(5 * time.Second)
	// Full jitter between 250 ms and 30 s, doubling: about six in five seconds.
	if got := s.Sim.Stats().Connections; got < 2 || got > 25 {
		t.Errorf("%d connections in five seconds", got)
	}
	s.Sim.RemoveFault("")
	s.WaitState(t, Demo, bridge.Connected)
	if v := s.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}
