package stack

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/simulator"
)

// onEach runs a test on each platform: what a publisher and a subscriber see
// does not depend on it.
func onEach(t *testing.T, test func(t *testing.T, platform string)) {
	for _, platform := range []string{bridge.PlatformChatAPI, bridge.PlatformCloudAPI} {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			test(t, platform)
		})
	}
}

// report is what tests look at in a message on wa.status.
type report struct {
	Ref, ID, To, Status string
	Rank, Attempts      int
	Error               *struct {
		Class, Title, Detail string
		Code                 int
	}
}

func reportOf(t testing.TB, m natsMsg) report {
	t.Helper()
	var r report
	if err := json.Unmarshal(m.Data(), &r); err != nil {
		t.Fatalf("a status that is not JSON: %v: %s", err, m.Data())
	}
	return r
}

// outcomes reads the outcomes of so many commands, in the order in which they
// were stored, and fails where a command has two.
func (r *Records) outcomes(t testing.TB, n int) (refs []string, of map[string]report) {
	t.Helper()
	of = make(map[string]report)
	for len(of) < n {
		got := reportOf(t, r.Next(t))
		if !slices.Contains([]string{"accepted", "rejected", "expired", "unknown"}, got.Status) {
			continue
		}
		if _, twice := of[got.Ref]; twice {
			t.Errorf("%s has two outcomes", got.Ref)
		}
		refs, of[got.Ref] = append(refs, got.Ref), got
	}
	return refs, of
}

// until reads on to a status of a ref and returns it.
func (r *Records) until(t testing.TB, ref, word string) report {
	t.Helper()
	return reportOf(t, r.Until(t, func(m natsMsg) bool { got := reportOf(t, m); return got.Ref == ref && got.Status == word }))
}

// sentRefs are the refs of what a session's platform accepted, in its order.
func (s *Stack) sentRefs(t testing.TB, session string) []string {
	t.Helper()
	sent, _ := s.Sim.Sent(session, 0, 1<<20)
	refs := make([]string, len(sent))
	for i, m := range sent {
		refs[i] = refOf(t, m)
	}
	return refs
}

// checkProtocol fails where the bridge broke a rule of the platform.
func (s *Stack) checkProtocol(t testing.TB) {
	t.Helper()
	if v := s.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}

func (s *Stack) fault(t testing.TB, f simulator.Fault) {
	t.Helper()
	if _, err := s.Sim.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

func (s *Stack) statuses(t testing.TB) *Records {
	t.Helper()
	return s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
}

// Every type of message is accepted once and told of to the end: each status
// once, with ref, id and rank, and none before the outcome.
func TestConformanceSend(t *testing.T) {
	onEach(t, func(t *testing.T, platform string) {
		s := New(t, Config{Platform: platform})
		statuses := s.statuses(t)
		want := make(map[string]int) // statuses to come
		for _, file := range corpusFiles(t, "send", 33) {
			ref := filepath.Base(file)
			switch {
			case strings.Contains(ref, "over_limit"), ref == "mark_read.json", ref == "typing_indicator.json":
				continue // see TestCorpusCommands and TestConformanceVerbs
			case strings.HasPrefix(ref, "reaction"):
				want[ref] = 2 // of a reaction only sent is told
			default:
				want[ref] = 4
			}
			s.Publish(t, Demo, ref, string(read(t, file)))
		}
		ranks := map[string]int{"accepted": 1, "sent": 2, "delivered": 3, "read": 4}
		ids, seen := make(map[string]string), make(map[string]bool)
		for left := len(want); left > 0; {
			m := statuses.Next(t)
			got := reportOf(t, m)
			if got.Status == "accepted" {
				ids[got.Ref] = got.ID
			}
			if got.ID == "" || ids[got.Ref] != got.ID || seen[got.Ref+got.Status] || got.Rank != ranks[got.Status] {
				t.Errorf("after %q: %s", ids[got.Ref], m.Data())
			}
			if got.Status == "accepted" && got.Attempts != 1 {
				t.Errorf("%d attempts: %s", got.Attempts, m.Data())
			}
			seen[got.Ref+got.Status] = true
			checkHeaders(t, m, map[string]string{"ce-type": "whatsapp.status." + got.Status, "ce-source": "/wabridge/" + Demo})
			if want[got.Ref]--; want[got.Ref] == 0 {
				left--
			}
		}
		if got := len(s.sentRefs(t, Demo)); got != len(want) {
			t.Errorf("%d messages were delivered, want %d", got, len(want))
		}
		s.checkProtocol(t)
	})
}
