package stack

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/simulator"
)

const support = "support"

// corpusNumbers makes Demo and support the two numbers of the examples, of one
// account.
func corpusNumbers(c *simulator.Config) {
	corpusNumber(c)
	c.Sessions[1].PhoneNumberID, c.Sessions[1].WABAID = "880090070060051", corpusWABA
}

// expectation says what one part of an example must become: a line of the
// codec's webhook.tsv.
type expectation struct{ kind, field, waba, phone, id, conversation string }

func expectations(t testing.TB) map[string][]expectation {
	t.Helper()
	of := make(map[string][]expectation)
	for line := range strings.Lines(string(read(t, "../../../codec/testdata/webhook.tsv"))) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) == 7 && c[0] != "file" {
			of[c[0]] = append(of[c[0]], expectation{c[1], c[2], c[3], c[4], c[5], c[6]})
		}
	}
	return of
}

// records are the lines that a part must leave: subject, type, message id,
// conversation. An event's id is a hash and left out.
func (e expectation) records(s *Stack) []string {
	sessions := map[string][]string{
		corpusPhone: {Demo}, "880090070060051": {support}, "": {Demo, support}, // of the account: both numbers
	}[e.phone]
	if e.phone == "" && e.waba != corpusWABA {
		return []string{s.Names.Dead(bridge.Unrouted)}
	}
	words := append(strings.Fields(e.id), "", "")
	var lines []string
	for _, session := range sessions {
		var line []string
		switch e.kind {
		case "message":
			line = []string{s.Names.Recv(session), "whatsapp.message." + words[0], session + ":" + words[1], e.conversation}
		case "status":
			line = []string{s.Names.Status(session), "whatsapp.status." + words[0], session + ":" + words[1] + ":" + words[0], e.conversation}
		default:
			line = []string{s.Names.Event(session), "whatsapp.event." + e.field, "", ""}
		}
		lines = append(lines, strings.Join(line, " "))
	}
	return lines
}

// describe writes a stored record as expectation.records does.
func describe(m natsMsg) string {
	h := m.Headers()
	if h.Get("Wa-Dead-Reason") != "" {
		return m.Subject()
	}
	id := h.Get("Nats-Msg-Id")
	if strings.HasPrefix(h.Get("ce-type"), "whatsapp.event.") {
		id = ""
	}
	return strings.Join([]string{m.Subject(), h.Get("ce-type"), id, h.Get("ce-subject")}, " ")
}

// Every example of a webhook, end to end: with its own signature it is answered
// with 200, and its parts are stored under the subjects, types and ids that are
// written down; with one byte flipped it is refused.
func TestCloudCorpus(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI, Sessions: []string{Demo, support}, Simulator: corpusNumbers})
	recv := s.Follow(t, s.Names.RecvStream(), s.Names.Recv("*"), s.Names.Status("*"), s.Names.Event("*"))
	dead := s.Follow(t, s.Names.DeadStream(), s.Names.Dead("*"))
	signature, expected := signatures(t), expectations(t)
	for _, file := range corpusFiles(t, "webhook", 77) {
		name, body := filepath.Base(file), read(t, file)
		t.Run(name, func(t *testing.T) {
			if status := s.post(t, body, signature[name]); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			var want, got []string
			for _, e := range expected[name] {
				want = append(want, e.records(s)...)
			}
			for _, line := range want {
				from := recv
				if strings.HasPrefix(line, s.Names.Dead("")) {
					from = dead
				}
				m := from.Until(t, func(m natsMsg) bool {
					return !strings.HasPrefix(m.Headers().Get("ce-type"), "whatsapp.event.session_") // the session's own
				})
				got = append(got, describe(m))
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) || len(want) == 0 {
				t.Errorf("stored\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			forged := slices.Clone(body)
			forged[len(forged)/2] ^= 1
			if status := s.post(t, forged, signature[name]); status != http.StatusUnauthorized {
				t.Errorf("one flipped byte: status %d", status)
			}
		})
	}
	recv.Quiet(t, 200*time.Millisecond)
	dead.Quiet(t, 0)
}
