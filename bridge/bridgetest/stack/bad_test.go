package stack

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// A command that cannot be sent is rejected with a reason that a person
// understands, kept as a dead letter as it came, and delays nobody.
func TestBadCommands(t *testing.T) { onEach(t, badCommands) }

func badCommands(t *testing.T, platform string) {
	s := New(t, Config{Platform: platform})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	dead := s.Follow(t, s.Names.DeadStream(), s.Names.Dead(Demo))
	button := func(i int) string {
		return fmt.Sprintf(`{"type":"reply","reply":{"id":"b%d","title":"Button %d"}}`, i, i)
	}
	for _, c := range []struct{ name, body, reason string }{
		{"not json", `{"to": "+15550142233", "text"`, "JSON"},
		{"no recipient", `{"text":"hello"}`, "to"},
		{"two contents", `{"to":"+15550142233","text":"hello","image":{"id":"1"}}`, "more than one content"},
		{"long text", `{"to":"+15550142233","text":"` + strings.Repeat("x", 4097) + `"}`, "4096"},
		{
			"four buttons", `{"to":"+15550142233","type":"interactive","interactive":{"type":"button","body":{"text":"choose"},"action":{"buttons":[` +
				strings.Join([]string{button(1), button(2), button(3), button(4)}, ",") + `]}}}`, "buttons",
		},
		{"as large as NATS takes", `{"to":"+15550142233","text":"` + strings.Repeat("x", 1<<20-500) + `"}`, "4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := "bad-" + strings.ReplaceAll(c.name, " ", "-")
			sequence := s.Publish(t, Demo, id, c.body)
			s.Publish(t, Demo, id+"-next", `{"to":"+15550142233","text":"still here"}`)
			m := statuses.Until(t, func(m natsMsg) bool { ref, _ := StatusOf(t, m); return ref == id })
			var report struct {
				Status string
				Error  struct{ Class, Title, Detail string }
			}
			if err := json.Unmarshal(m.Data(), &report); err != nil {
				t.Fatal(err)
			}
			if report.Status != "rejected" || report.Error.Class != "invalid" {
				t.Errorf("the outcome is %s of class %s, want rejected, invalid", report.Status, report.Error.Class)
			}
			letter := dead.Next(t)
			if string(letter.Data()) != c.body {
				t.Errorf("the dead letter is not as it came: %d bytes, want %d", len(letter.Data()), len(c.body))
			}
			if got := letter.Headers().Get("Wa-Dead-Reason"); !strings.Contains(got, c.reason) {
				t.Errorf("the reason %q does not speak of %q", got, c.reason)
			}
			for name, want := range map[string]string{
				"Wa-Dead-Class": "invalid", "Wa-Dead-Subject": s.Names.Send(Demo),
				"Wa-Dead-Sequence": strconv.FormatUint(sequence, 10),
				nats.MsgIdHdr:      Demo + ":" + strconv.FormatUint(sequence, 10) + ":dead",
			} {
				if got := letter.Headers().Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			statuses.Until(t, func(m natsMsg) bool {
				ref, word := StatusOf(t, m)
				return ref == id+"-next" && word == "accepted"
			})
		})
	}
}

// A frame that cannot be read is kept as a dead letter; the messages around it
// arrive, in order, on the same connection.
func TestBadFrames(t *testing.T) {
	s := New(t, Config{})
	records := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	dead := s.Follow(t, s.Names.DeadStream(), s.Names.Dead(Demo))
	for i, c := range []struct {
		variant string
		size    int
	}{
		{"not_json", 0},
		{"not_event", 0},
		{"binary", 0},
		{"wrong_data", 0},
		{"unknown_type", 0},
		{"oversized", 64 << 20},
	} {
		t.Run(c.variant, func(t *testing.T) {
			write := func(text string) {
				t.Helper()
				if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"`+text+`"}`)); err != nil {
					t.Fatal(err)
				}
			}
			write("before " + c.variant)
			records.Until(t, func(m natsMsg) bool { return contains(m.Data(), "before "+c.variant) })
			if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultMalformed, Session: Demo, Variant: c.variant, Size: c.size}); err != nil {
				t.Fatal(err)
			}
			write("after " + c.variant)
			letter := dead.Next(t)
			if letter.Headers().Get("Wa-Dead-Reason") == "" {
				t.Error("the dead letter says no reason")
			}
			if c.size > 0 && len(letter.Data()) > 64<<10 {
				t.Errorf("the dead letter holds %d bytes, want the first 64 KiB", len(letter.Data()))
			}
			records.Until(t, func(m natsMsg) bool { return contains(m.Data(), "after "+c.variant) })
			if got := s.Sim.Stats().Connections; got != 1 {
				t.Errorf("after frame %d there were %d connections, want one", i, got)
			}
		})
	}
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Sessions[Demo].Unacked == 0 }, "not everything is acked")
	if v := s.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}
