package stack

import (
	"strconv"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// A token that ends is renewed on the live socket: no reconnect, nothing lost.
func TestTokenIsRenewedOnTheLiveSocket(t *testing.T) {
	s := New(t, Config{Simulator: func(c *simulator.Config) { c.TokenTTL = 2 * time.Second }})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	const sends = 30
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for i := range sends { // for more than two lifetimes of a token
		s.Publish(t, Demo, "renewed-"+strconv.Itoa(i), `{"to":"+15550142233","text":"x"}`)
		<-tick.C
	}
	accepted := 0
	for accepted < sends {
		if _, word := StatusOf(t, statuses.Next(t)); word == "accepted" {
			accepted++
		}
	}
	stats := s.Sim.Stats()
	if stats.Connections != 1 {
		t.Errorf("%d connections were opened, want one", stats.Connections)
	}
	if stats.Renewals == 0 {
		t.Error("no token was renewed on the socket")
	}
	if v := s.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}

// A session whose access is taken away refreshes once, says so, and does not
// hammer the platform; its commands wait.
func TestRevokedTokenEndsInUnauthorized(t *testing.T) {
	s := New(t, Config{})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultToken, Code: 401, Reason: "invalid_client", Count: -1}); err != nil {
		t.Fatal(err)
	}
	s.Sim.RevokeTokens("", true)
	s.WaitState(t, Demo, bridge.Unauthorized)
	asked := s.Sim.Stats().TokenRequests
	s.Publish(t, Demo, "kept", `{"to":"+15550142233","text":"later"}`)
	statuses.Quiet(t, 3*time.Second)
	if again := s.Sim.Stats().TokenRequests - asked; again > 2 {
		t.Errorf("the token endpoint was asked %d more times within 3 s", again)
	}
}

// A session without the permission to send is forbidden and says why.
func TestMissingScopeIsForbidden(t *testing.T) {
	s := New(t, Config{Sessions: []string{Demo}})
	if err := s.Sim.AddClient(simulator.Client{
		ID: "wabridge", Secret: "s3cr3t-of-the-client", Scopes: []string{simulator.ScopeManagement},
	}); err != nil {
		t.Fatal(err)
	}
	s.Sim.RevokeTokens("", true)
	s.WaitState(t, Demo, bridge.Forbidden)
	bridgetest.Eventually(t, patience, func() bool {
		m, err := s.lastState(Demo)
		return err == nil && contains(m.Data, "whatsapp_business_messaging")
	}, "the state's reason does not name the missing permission")
}
