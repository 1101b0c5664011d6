package stack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// burst publishes n commands in turn over some conversations and returns their
// refs by conversation, in order.
func (s *Stack) burst(t testing.TB, name string, n, conversations int) map[string][]string {
	t.Helper()
	want := make(map[string][]string)
	for i := range n {
		peer := fmt.Sprintf("1555%07d", i%conversations)
		ref := name + "-" + strconv.Itoa(i)
		s.Publish(t, Demo, ref, fmt.Sprintf(`{"to":"+%s","text":"%d"}`, peer, i))
		want[peer] = append(want[peer], ref)
	}
	return want
}

// checkOrder fails where what the platform accepted is not what was published,
// once and in order in each conversation.
func (s *Stack) checkOrder(t testing.TB, want map[string][]string) {
	t.Helper()
	sent, _ := s.Sim.Sent(Demo, 0, 1<<20)
	got := make(map[string][]string)
	for _, m := range sent {
		got[m.Number] = append(got[m.Number], refOf(t, m))
	}
	for peer, refs := range want {
		if !slices.Equal(got[peer], refs) {
			t.Errorf("conversation %s: sent %v, want %v", peer, got[peer], refs)
		}
	}
	s.checkProtocol(t)
}

func allAccepted(t testing.TB, of map[string]report) {
	t.Helper()
	for ref, r := range of {
		if r.Status != "accepted" {
			t.Errorf("%s is %s: %+v", ref, r.Status, r.Error)
		}
	}
}

// A burst goes out in order, each once.
func TestConformanceBurst(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		want := s.burst(t, "burst", 500, 50)
		_, of := statuses.outcomes(t, 500)
		allAccepted(t, of)
		s.checkOrder(t, want)
	})
}

// The replica stops in the middle of a burst and another goes on: nothing is
// lost, doubled or out of order.
func TestConformanceRestart(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		var want map[string][]string
		var publishing sync.WaitGroup
		publishing.Go(func() { want = s.burst(t, "restart", 400, 40) })
		bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Accepted >= 100 }, "the burst does not begin")
		s.Stop(t)
		if n := s.Sim.Stats().Accepted; n >= 400 {
			t.Errorf("all %d were accepted before the restart", n)
		}
		s.Start(t)
		publishing.Wait()
		_, of := statuses.outcomes(t, 400)
		allAccepted(t, of)
		s.checkOrder(t, want)
	})
}

// Marking as read and typing reach the user's phone and end accepted.
func TestConformanceVerbs(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
		for _, verb := range []struct {
			name, members string
			typing        bool
		}{{"read", "", false}, {"typing", `,"typing_indicator":{"type":"text"}`, true}} {
			if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"hello"}`)); err != nil {
				t.Fatal(err)
			}
			var body struct{ Message struct{ ID string } }
			if err := json.Unmarshal(received.Next(t).Data(), &body); err != nil {
				t.Fatal(err)
			}
			s.Publish(t, Demo, verb.name, `{"messaging_product":"whatsapp","status":"read","message_id":"`+body.Message.ID+`"`+verb.members+`}`)
			if got := statuses.until(t, verb.name, "accepted"); got.ID != "" {
				t.Errorf("the outcome of a verb names a message: %+v", got)
			}
			phone, _ := s.Sim.Phone("15550142233")
			i := slices.IndexFunc(phone.Messages, func(m simulator.Message) bool { return m.ID == body.Message.ID })
			if i < 0 || phone.Messages[i].Status != "read" || phone.Messages[i].Typing != verb.typing {
				t.Errorf("%s: the phone shows %+v", verb.name, phone.Messages)
			}
		}
		s.checkProtocol(t)
	})
}

// A user's own choices arrive as typed errors, in words and code: in the
// outcome, or in a failed status after accepted. A block is told to nobody.
func TestConformanceLevels(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		const text, template = `"text":"hello"`, `"type":"template","template":{"name":"sale","language":{"code":"en"}}`
		for i, c := range []struct {
			level   simulator.Level
			late    bool
			content string
			code    int
			words   string
		}{
			{simulator.LevelAll, false, text, 0, "read"},
			{simulator.LevelWindow, false, text, 131047, "24 hours"},
			{simulator.LevelWindow, true, text, 131047, "24 hours"},
			{simulator.LevelWindow, false, template, 0, "read"},
			{simulator.LevelNoMarketing, false, template, 131050, "marketing"},
			{simulator.LevelNoMarketing, true, template, 131050, "marketing"},
			{simulator.LevelNoMarketing, false, text, 0, "read"},
			{simulator.LevelBlocked, false, text, 0, "sent"},
		} {
			peer := fmt.Sprintf("1555%07d", i)
			if err := s.Sim.SetUser(simulator.User{Number: peer, Level: c.level, LateErrors: c.late}); err != nil {
				t.Fatal(err)
			}
			ref := fmt.Sprintf("%d-%s", i, c.level)
			s.Publish(t, Demo, ref, `{"to":"+`+peer+`",`+c.content+`}`)
			word := c.words
			switch {
			case c.code != 0 && c.late:
				statuses.until(t, ref, "accepted")
				word = "failed"
			case c.code != 0:
				word = "rejected"
			}
			got := statuses.until(t, ref, word)
			if c.code == 0 {
				continue
			}
			if got.Rank != 9 || got.Error == nil || got.Error.Class != "permanent" || got.Error.Code != c.code {
				t.Fatalf("%s: %+v", ref, got)
			}
			if said := got.Error.Title + " " + got.Error.Detail; !c.late && !strings.Contains(said, c.words) {
				t.Errorf("%s: %q does not speak of %q", ref, said, c.words)
			}
		}
		// The blocked user's message is sent, and then nothing: no delivered, and
		// nobody says why.
		phone, _ := s.Sim.Phone("15550000007")
		if len(phone.Messages) != 0 {
			t.Errorf("it was delivered to one who blocked the business: %+v", phone.Messages)
		}
		statuses.Quiet(t, 200*time.Millisecond)
		s.checkProtocol(t)
	})
}

// A rate limit waits, as far as it reaches: that of the number holds every
// conversation, that of a pair its own only. Nothing changes place.
func TestConformanceThrottling(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		s.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Code: 131056, Number: "15550000000", Count: 1})
		want := s.burst(t, "pair", 10, 2)
		refs, of := statuses.outcomes(t, 10)
		allAccepted(t, of)
		if slices.Index(refs, "pair-0") < slices.Index(refs, "pair-1") {
			t.Errorf("the other conversation waited, too: %v", refs)
		}
		s.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Code: 130429, Count: 1})
		from := time.Now()
		for peer, more := range s.burst(t, "number", 10, 2) {
			want[peer] = append(want[peer], more...)
		}
		_, of = statuses.outcomes(t, 10)
		allAccepted(t, of)
		if took := time.Since(from); took < time.Second {
			t.Errorf("the number's limit held sends for %v", took)
		}
		s.checkOrder(t, want)
	})
}

// "Try again" is done, in place and with the ref as it was; where the platform
// does not say for how long, three times.
func TestConformanceTransient(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		s.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Code: 131016, Number: "15550000000", Count: 2})
		s.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Code: 131000, Number: "15550000001", Count: 3})
		want := s.burst(t, "again", 4, 2)
		_, of := statuses.outcomes(t, 4)
		if got := of["again-0"]; got.Status != "accepted" || got.Attempts != 3 {
			t.Errorf("after two refusals: %+v", got)
		}
		if got := of["again-1"]; got.Status != "rejected" || got.Attempts != 3 || got.Error.Code != 131000 {
			t.Errorf("after three refusals of an unknown kind: %+v %+v", got, got.Error)
		}
		want["15550000001"] = want["15550000001"][1:]
		s.checkOrder(t, want)
	})
}

// oauth has sessions get their tokens from the simulator's OAuth server.
func oauth(s *Stack, d *bridge.Definition) {
	d.Token, d.TokenURL = "", "http://"+s.SimAddr+"/oauth/token"
	d.ClientID, d.ClientSecret = clientID, "value:"+clientSecret
	if d.AppID != "" {
		d.ClientID = d.AppID // tokens are the app's
	}
}

// A token that ends in the middle is replaced, once, and everything goes on
// from where it stood.
func TestConformanceUnauthorized(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform, Definition: oauth})
		statuses := s.statuses(t)
		want := s.burst(t, "token", 100, 20)
		bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Accepted >= 50 }, "the burst does not begin")
		asked := s.Sim.Stats().TokenRequests
		s.Sim.RevokeTokens("", false)
		// However many went out by now, these do not go out without a new token.
		for peer, refs := range s.burst(t, "renewed", 100, 20) {
			want[peer] = append(want[peer], refs...)
		}
		_, of := statuses.outcomes(t, 200)
		allAccepted(t, of)
		s.checkOrder(t, want)
		if n := s.Sim.Stats().TokenRequests - asked; n == 0 || n > 2 {
			t.Errorf("%d tokens were asked for, want one or two", n)
		}
		s.WaitState(t, Demo, bridge.Connected)
	})
}

// An account that may not send waits for a person: its commands are kept, it
// says so, what users write arrives, and it goes on in order.
func TestConformanceForbidden(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
		s.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Code: 368, Count: -1})
		want := s.burst(t, "held", 20, 4)
		s.WaitState(t, Demo, bridge.Forbidden)
		last, err := s.lastState(Demo)
		if err != nil || !contains(last.Data, "368") {
			t.Errorf("the state's reason does not name the code: %s, %v", last.Data, err)
		}
		if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"anybody there?"}`)); err != nil {
			t.Fatal(err)
		}
		received.Until(t, func(m natsMsg) bool { return contains(m.Data(), "anybody there?") })
		statuses.Quiet(t, 300*time.Millisecond) // what was in flight is answered
		asked := s.Sim.Stats().Sends
		statuses.Quiet(t, time.Second)
		if n := s.Sim.Stats().Sends - asked; n > 0 {
			t.Errorf("%d sends went out of a session that is forbidden", n)
		}
		s.Sim.RemoveFault("")
		s.resume(t, Demo)
		_, of := statuses.outcomes(t, 20)
		allAccepted(t, of)
		s.checkOrder(t, want)
	})
}

// resume does what an operator does: pauses a session and ends the pause.
func (s *Stack) resume(t testing.TB, session string) {
	t.Helper()
	kv := s.sessionsBucket(t)
	if _, err := kv.Put(t.Context(), session, []byte(`{"paused":true}`)); err != nil {
		t.Fatal(err)
	}
	s.WaitState(t, session, bridge.Paused)
	if err := kv.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
}
