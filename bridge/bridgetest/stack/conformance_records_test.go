package stack

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// The number and the account of the examples.
const (
	corpusPhone = "880090070060050"
	corpusWABA  = "770010020030040"
)

// corpusNumber makes Demo the number of the examples.
func corpusNumber(c *simulator.Config) {
	c.Sessions[0].PhoneNumberID, c.Sessions[0].WABAID = corpusPhone, corpusWABA
}

// post makes a webhook request with a signature and returns its status.
func (s *Stack) post(t testing.TB, body []byte, signature string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.WebhookURL(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Hub-Signature-256", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// signatures are those of the examples, by file.
func signatures(t testing.TB) map[string]string {
	t.Helper()
	of := make(map[string]string)
	for line := range strings.Lines(string(read(t, filepath.Join(corpus, "signatures.tsv")))) {
		if name, signature, found := strings.Cut(strings.TrimSpace(line), "\t"); found && strings.HasPrefix(signature, "sha256=") {
			of[filepath.Base(name)] = signature
		}
	}
	return of
}

// stored reads everything that a stream has stored on some subjects.
func (s *Stack) stored(t testing.TB, stream string, subjects ...string) []natsMsg {
	t.Helper()
	st, err := s.JS.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	left := uint64(0)
	for _, subject := range subjects {
		info, err := st.Info(t.Context(), jetstream.WithSubjectFilter(subject))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range info.State.Subjects {
			left += n
		}
	}
	var all []natsMsg
	records := s.Follow(t, stream, subjects...)
	for range left {
		all = append(all, records.Next(t))
	}
	return all
}

// The same webhook by both platforms: a subscriber cannot tell which one it
// came by.
func TestConformanceRecords(t *testing.T) {
	chat := corpusRecords(t, bridge.PlatformChatAPI)
	cloud := corpusRecords(t, bridge.PlatformCloudAPI)
	for content, header := range cloud {
		other, found := chat[content]
		if !found {
			t.Errorf("by the Cloud API only: %.300s", content)
			continue
		}
		for _, name := range []string{"Wa-Epoch", "Wa-Sequence"} {
			if len(header[name]) != 0 || len(other[name]) != 1 {
				t.Errorf("%s: %v and %v", name, header[name], other[name])
			}
			delete(other, name)
		}
		if fmt.Sprint(header) != fmt.Sprint(other) {
			t.Errorf("headers differ of %.200s\n%v\n%v", content, header, other)
		}
	}
	for content := range chat {
		if cloud[content] == nil {
			t.Errorf("by the Chat API only: %.300s", content)
		}
	}
	if len(cloud) < 75 {
		t.Errorf("%d records are too few", len(cloud))
	}
}

// corpusRecords lets a platform say the examples and returns the headers of
// what is stored, without what differs by nature, by subject and body.
func corpusRecords(t *testing.T, platform string) map[string]map[string][]string {
	t.Helper()
	s := New(t, Config{Platform: platform, Simulator: corpusNumber})
	signature := signatures(t)
	for _, file := range corpusFiles(t, "webhook", 77) {
		name, body := filepath.Base(file), read(t, file)
		switch name {
		case "batch_multi_entry_multi_number.json", // other numbers, too
			"history_chunk.json", "errors_value_level_130429.json": // taken apart further by the bridge than by the simulator
			continue
		}
		if platform == bridge.PlatformChatAPI {
			if _, err := s.Sim.EmitWebhook(Demo, body); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		} else if status := s.post(t, body, signature[name]); status != http.StatusOK {
			t.Errorf("%s: status %d", name, status)
		}
	}
	bridgetest.Eventually(t, patience, func() bool { return s.Sim.Stats().Sessions[Demo].Unacked == 0 }, "not everything is acked")
	found := make(map[string]map[string][]string)
	for _, m := range s.stored(t, s.Names.RecvStream(), s.Names.Recv(Demo), s.Names.Status(Demo), s.Names.Event(Demo)) {
		header := map[string][]string(m.Headers())
		if kind := m.Headers().Get("ce-type"); strings.HasPrefix(kind, "whatsapp.event.session_") {
			continue // the session's own
		}
		delete(header, "traceparent")
		if m.Subject() == s.Names.Event(Demo) { // identified by its time
			for _, name := range []string{"ce-time", "ce-id", "Nats-Msg-Id"} {
				delete(header, name)
			}
		}
		found[m.Subject()+" "+string(m.Data())] = header
	}
	return found
}
