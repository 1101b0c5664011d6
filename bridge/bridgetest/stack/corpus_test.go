package stack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

type natsMsg = jetstream.Msg

const corpus = "../../../codec/testdata/cloudapi"

func corpusFiles(t *testing.T, kind string, atLeast int) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus, kind, "*.json"))
	if err != nil || len(files) < atLeast {
		t.Fatalf("found %d files of %s, want at least %d: %v", len(files), kind, atLeast, err)
	}
	return files
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every example of what WhatsApp says passes as inbound data: each part is
// stored once, and nothing ends as a dead letter.
func TestCorpusInbound(t *testing.T) {
	s := New(t, Config{})
	records := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo), s.Names.Status(Demo), s.Names.Event(Demo))
	records.Until(t, func(m natsMsg) bool { return contains(m.Data(), `"connected"`) })
	total := 0
	for _, file := range corpusFiles(t, "webhook", 77) {
		n, err := s.Sim.EmitWebhook(Demo, read(t, file))
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
		total += n
	}
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Sessions[Demo].Unacked == 0 }, "not everything is acked")
	seen := make(map[string]bool)
	stream, err := s.JS.Stream(t.Context(), s.Names.RecvStream())
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for {
		m := records.Next(t)
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		id := m.Headers().Get("Nats-Msg-Id")
		if seen[id] {
			t.Errorf("%s is stored twice", m.Headers().Get("ce-type"))
		}
		seen[id] = true
		if !json.Valid(m.Data()) {
			t.Errorf("%s is not JSON", m.Headers().Get("ce-type"))
		}
		if meta.Sequence.Stream == info.State.LastSeq {
			break
		}
	}
	if len(seen) < 77 || total < 77 {
		t.Errorf("%d parts gave %d records", total, len(seen))
	}
	deadStream, err := s.JS.Stream(t.Context(), s.Names.DeadStream())
	if err != nil {
		t.Fatal(err)
	}
	if n := deadStream.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d dead letters, want none", n)
	}
}

// Every example of a send passes as a command: accepted, or rejected where it
// breaks a rule and says so.
func TestCorpusCommands(t *testing.T) { onEach(t, corpusCommands) }

func corpusCommands(t *testing.T, platform string) {
	s := New(t, Config{Platform: platform})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	files := corpusFiles(t, "send", 33)
	for _, file := range files {
		s.Publish(t, Demo, filepath.Base(file), string(read(t, file)))
	}
	words := make(map[string]string)
	for len(words) < len(files) {
		m := statuses.Next(t)
		ref, word := StatusOf(t, m)
		switch word {
		case "accepted", "rejected", "expired", "unknown":
			words[ref] = word
			if bad := strings.Contains(ref, "over_limit"); bad != (word == "rejected") {
				t.Errorf("%s is %s: %s", ref, word, m.Data())
			}
		}
	}
	if v := s.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}

// Every example of an error, as the platform's answer, ends a command as its
// class says, or keeps it for another try.
func TestCorpusErrors(t *testing.T) { onEach(t, corpusErrors) }

func corpusErrors(t *testing.T, platform string) {
	s := New(t, Config{Platform: platform})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	for _, file := range corpusFiles(t, "error", 32) {
		var example struct {
			Error struct{ Code int }
		}
		if err := json.Unmarshal(read(t, file), &example); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if holdOf(example.Error.Code) != holdsNothing {
			continue // see TestCorpusErrorsThatHold
		}
		ref := filepath.Base(file)
		if _, err := s.Sim.AddFault(simulator.Fault{Kind: simulator.FaultRefuse, Session: Demo, Code: example.Error.Code}); err != nil {
			t.Fatal(err)
		}
		s.Publish(t, Demo, ref, `{"to":"+15550142233","text":"x"}`)
		m := statuses.Until(t, func(m natsMsg) bool { got, _ := StatusOf(t, m); return got == ref })
		var report struct {
			Status   string
			Attempts int
			Error    struct{ Code int }
		}
		if err := json.Unmarshal(m.Data(), &report); err != nil {
			t.Fatal(err)
		}
		switch {
		case report.Status == "rejected" && report.Error.Code == example.Error.Code:
		case report.Status == "accepted" && report.Attempts > 1: // "try again" was meant, and done
		default:
			t.Errorf("%s: %s", ref, m.Data())
		}
	}
}
