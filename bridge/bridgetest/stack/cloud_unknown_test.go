package stack

import (
	"slices"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// doubtful is a Stack whose platform takes a send and does not answer, with a
// short wait for a status that shows it.
func doubtful(t *testing.T, doubt time.Duration, policy bridge.Policy, change func(*simulator.Config)) (*Stack, *Records) {
	t.Helper()
	s := New(t, Config{
		Platform:   bridge.PlatformCloudAPI,
		Simulator:  change,
		Definition: func(_ *Stack, d *bridge.Definition) { d.Unknown = policy },
		App:        func(c *app.Config) { c.Doubt = doubt },
	})
	s.fault(t, simulator.Fault{Kind: simulator.FaultDropAnswer, Number: "15550142233", Count: 1})
	return s, s.statuses(t)
}

func noStatuses(c *simulator.Config) { c.Sessions[0].NoStatuses = true }

// A send that was taken and not answered is shown by its status: nothing is
// sent twice and nothing is unknown.
func TestCloudStatusResolves(t *testing.T) {
	t.Parallel()
	s, statuses := doubtful(t, patience, bridge.Report, nil)
	want := s.burst(t, "seen", 10, 1)
	s.fault(t, simulator.Fault{Kind: simulator.FaultDropAnswer, Count: 3})
	s.Publish(t, Demo, "order-1", `{"to":"+15550142233","text":"x"}`)
	_, of := statuses.outcomes(t, 11)
	allAccepted(t, of)
	for ref, r := range of {
		if r.Attempts != 1 || r.ID == "" {
			t.Errorf("%s: %+v", ref, r)
		}
	}
	s.checkOrder(t, want)
	if n := s.Sim.Stats().Sends; n != 11 {
		t.Errorf("%d sends, want 11", n)
	}
}

// Where no status comes, the default is to say so and never to send twice; the
// conversation goes on.
func TestCloudUnknownIsReported(t *testing.T) {
	t.Parallel()
	s, statuses := doubtful(t, time.Second, "", noStatuses)
	dead := s.Follow(t, s.Names.DeadStream(), s.Names.Dead(Demo))
	const body = `{"to":"+15550142233","text":"x"}`
	s.Publish(t, Demo, "order-1", body)
	s.Publish(t, Demo, "order-2", body)
	refs, of := statuses.outcomes(t, 2)
	if of["order-1"].Status != "unknown" || of["order-1"].Rank != 9 || of["order-2"].Status != "accepted" || refs[0] != "order-1" {
		t.Errorf("outcomes %v: %+v", refs, of)
	}
	if letter := dead.Next(t); string(letter.Data()) != body || letter.Headers().Get("Wa-Dead-Class") != "unknown" {
		t.Errorf("dead letter %v: %s", letter.Headers(), letter.Data())
	}
	if got := s.sentRefs(t, Demo); !slices.Equal(got, []string{"order-1", "order-2"}) {
		t.Errorf("sent %v, want each once", got)
	}
}

// With the policy resend it goes again, and may be a double.
func TestCloudUnknownIsSentAgain(t *testing.T) {
	t.Parallel()
	s, statuses := doubtful(t, time.Second, bridge.Resend, noStatuses)
	s.Publish(t, Demo, "order-1", `{"to":"+15550142233","text":"x"}`)
	if got := statuses.until(t, "order-1", "accepted"); got.Attempts != 2 {
		t.Errorf("outcome %+v", got)
	}
	if got := s.sentRefs(t, Demo); !slices.Equal(got, []string{"order-1", "order-1"}) {
		t.Errorf("sent %v, want it twice", got)
	}
}

// A status that comes after the outcome unknown still carries the ref.
func TestCloudLateStatusResolvesUnknown(t *testing.T) {
	t.Parallel()
	s, statuses := doubtful(t, 500*time.Millisecond, bridge.Report, func(c *simulator.Config) {
		c.Delays.Sent = simulator.Duration(20 * time.Second) // long after, on a busy machine too
	})
	s.Publish(t, Demo, "order-1", `{"to":"+15550142233","text":"x"}`)
	if got := reportOf(t, statuses.Next(t)); got.Status != "unknown" {
		t.Errorf("the outcome is %q", got.Status)
	}
	var words []string // webhooks come in any order
	for range 3 {
		got := reportOf(t, statuses.Next(t))
		words = append(words, got.Status)
		if got.Ref != "order-1" || got.ID == "" {
			t.Errorf("%s names no message: %+v", got.Status, got)
		}
	}
	slices.Sort(words)
	if want := []string{"delivered", "read", "sent"}; !slices.Equal(words, want) {
		t.Errorf("statuses %v, want %v", words, want)
	}
}

// Statuses that are quicker than the answer to their send wait for its outcome.
func TestCloudStatusOvertakes(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI})
	statuses := s.statuses(t)
	s.fault(t, simulator.Fault{Kind: simulator.FaultEarly, Count: -1})
	want := s.burst(t, "early", 20, 5)
	accepted := make(map[string]report)
	for range 4 * 20 {
		got := reportOf(t, statuses.Next(t))
		if got.Status == "accepted" {
			accepted[got.Ref] = got
		}
		if accepted[got.Ref].ID == "" || accepted[got.Ref].ID != got.ID || got.Attempts > 1 {
			t.Errorf("after the outcome %+v: %+v", accepted[got.Ref], got)
		}
	}
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Sessions[Demo].Unacked == 0 }, "webhooks are left")
	statuses.Quiet(t, 100*time.Millisecond)
	s.checkOrder(t, want)
}
