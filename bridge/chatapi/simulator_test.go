package chatapi

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/auth"
	"wabridge/bridge/simulator"
	"wabridge/codec"
)

// TestAgainstTheSimulator runs a session against the other implementation of
// the protocol, with every fault of a connection: all events arrive once and in
// order, every send is accepted in the end, and no rule is broken.
func TestAgainstTheSimulator(t *testing.T) {
	const events, senders, each = 4000, 4, 150
	sim, err := simulator.New(simulator.Config{
		Sessions: []simulator.SessionConfig{{ID: "shop", Window: 16, NoStatuses: true}},
		Clients:  []simulator.Client{{ID: "client", Secret: "s3cr3t", TokenTTL: simulator.Duration(2 * time.Second)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	tokens, err := auth.NewClientCredentials(auth.Config{TokenURL: server.URL + "/oauth/token", ClientID: "client", ClientSecret: "s3cr3t"})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, &platform{Server: server}, func(c *Config) {
		c.Definition.URL = "ws" + strings.TrimPrefix(server.URL, "http") + "/v1/sessions/{session}/ws"
		c.Tokens = tokens
		c.AnswerTimeout = time.Second
		c.UnauthorizedMin, c.UnauthorizedMax = 50*time.Millisecond, 50*time.Millisecond
		c.CloseTimeout = patience
	})
	s.connected(t)

	var wg sync.WaitGroup
	wg.Go(func() {
		load := simulator.Load{Session: "shop", Name: "load", Count: events, Conversations: 10, Rate: 1500}
		if n, err := sim.Inject(t.Context(), load); n != events || err != nil {
			t.Errorf("injected %d: %v", n, err)
		}
	})
	for sender := range senders {
		wg.Go(func() {
			for i := range each {
				pause(t, 10*time.Millisecond)
				for !s.accepted(t, fmt.Sprintf("%d-%d", sender, i)) {
					pause(t, time.Millisecond)
				}
			}
		})
	}
	faults := []simulator.Fault{
		{Kind: simulator.FaultCut},
		{Kind: simulator.FaultReorder},
		{Kind: simulator.FaultDuplicate},
		{Kind: simulator.FaultGap},
		{Kind: simulator.FaultLostSequence},
		{Kind: simulator.FaultDropAnswer},
		{Kind: simulator.FaultAcceptAndCut},
		{Kind: simulator.FaultExpireToken},
		{Kind: simulator.FaultRevokeToken},
		{Kind: simulator.FaultClose, Code: int(CloseGoingAway)},
		{Kind: simulator.FaultClose, Code: int(CloseToken)},
		{Kind: simulator.FaultClose, Code: int(CloseSlowDown), Reason: "0.1"},
		{Kind: simulator.FaultClose, Code: int(CloseTooBig)},
		{Kind: simulator.FaultHandshake, Code: 503},
	}
	for _, variant := range simulator.Variants() {
		faults = append(faults, simulator.Fault{Kind: simulator.FaultMalformed, Variant: variant, Size: 2 << 20})
	}
	for _, f := range faults {
		pause(t, 50*time.Millisecond)
		if _, err := sim.AddFault(f); err != nil {
			t.Errorf("%s: %v", f.Kind, err)
		}
	}
	wg.Wait()
	eventually(t, "all events are acked", func() bool {
		stats := sim.Stats().Sessions["shop"]
		return stats.Sequence >= events && stats.Unacked == 0
	})
	s.stop()
	receive(t, s.done, "the end of Run")

	last, messages := uint64(0), 0
	for _, in := range s.host.inbound {
		if in.Sequence > 0 && in.Sequence <= last {
			t.Errorf("sequence %d after %d", in.Sequence, last)
		}
		last = max(last, in.Sequence)
		if bytes.Contains(in.Data, []byte(`"load:`)) {
			messages++
		}
	}
	stats := sim.Stats()
	if messages != events || stats.Accepted != senders*each {
		t.Errorf("%d events of %d, %d sends accepted of %d", messages, events, stats.Accepted, senders*each)
	}
	for _, v := range sim.Violations() {
		t.Errorf("broke a rule: %s: %s", v.Rule, v.Detail)
	}
	t.Logf("%d connections, %d repeats, %d renewals, %d faults", stats.Connections, stats.Repeats, stats.Renewals, stats.Faults)
}

// accepted sends a ref and reports whether it was accepted; false is worth
// another try.
func (r *running) accepted(t *testing.T, ref string) bool {
	results := r.send(ref)
	select {
	case result := <-results:
		if result.Class == codec.Permanent || result.Class == codec.Denied {
			t.Errorf("%s: %+v", ref, result)
			return true
		}
		// A frame too big is invalid here, as nothing says that it was not.
		return result.Class == codec.Accepted
	case <-time.After(patience):
		t.Errorf("%s: no result", ref)
		return true
	}
}

// pause waits between faults, or before another try.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
