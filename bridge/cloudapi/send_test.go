package cloudapi

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

const textBody = `{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"hi \u00e9 <&>"}}`

func TestSendRequest(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	result := s.give(t, &bridge.Outgoing{Ref: "r", Type: "text", Body: []byte(textBody), TraceParent: parent, TraceState: "a=b"})
	if result.Class != codec.Accepted || result.ID != "wamid.dGVzdC1vLTAxMjA=" {
		t.Fatalf("result %+v", result)
	}
	r := server.message(t)
	if want := "/v26.0/" + testPhone + "/messages"; r.path != want {
		t.Errorf("path %q, want %q", r.path, want)
	}
	if string(r.body) != textBody {
		t.Errorf("body %s", r.body)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer " + testToken, "Content-Type": "application/json",
		"Traceparent": parent, "Tracestate": "a=b",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if want := "appsecret_proof=" + auth.AppSecretProof(testSecret, testToken, time.Time{}); r.query != want {
		t.Errorf("query %q", r.query)
	}
}

func TestSendEveryTypeOfTheCorpus(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	for _, name := range manifest(t, "send/") {
		body := corpus(t, name.file)
		if result := s.send(t, string(body)); result.Class != codec.Accepted {
			t.Errorf("%s: %+v", name.file, result)
		}
		if got := server.message(t).body; !bytes.Equal(got, body) {
			t.Errorf("%s: the body was changed", name.file)
		}
	}
}

func TestSendAnswers(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		header []string
		want   bridge.Result
	}{
		{"BSUID", 200, string(corpus(t, "response/send_ok_bsuid.json")), nil, bridge.Result{Class: codec.Accepted, ID: "*"}},
		{"template status", 200, string(corpus(t, "response/send_ok_template_status.json")), nil, bridge.Result{Class: codec.Accepted, ID: "*"}},
		{"held", 200, `{"messages":[{"id":"wamid.h","message_status":"held_for_quality_assessment"}]}`, nil, bridge.Result{Class: codec.Accepted, ID: "wamid.h"}},
		{"paused", 200, `{"messages":[{"id":"wamid.p","message_status":"paused"}]}`, nil, bridge.Result{Class: codec.Accepted, ID: "wamid.p"}},
		{"mark as read", 200, string(corpus(t, "response/mark_read_ok.json")), nil, bridge.Result{Class: codec.Accepted}},
		{"no id", 200, `{"messages":[]}`, nil, bridge.Result{Class: codec.Unknown}},
		{"not JSON", 200, `<html>`, nil, bridge.Result{Class: codec.Unknown}},
		{"huge", 200, strings.Repeat("x", maxAnswer+1), nil, bridge.Result{Class: codec.Unknown}},
		{"bare 500", 500, `oops`, nil, bridge.Result{Class: codec.Unknown}},
		{"bare 502", 502, `<html>Bad Gateway</html>`, nil, bridge.Result{Class: codec.Unknown}},
		{"proxy's JSON 503", 503, `{"reason":"overload"}`, nil, bridge.Result{Class: codec.Unknown}},
		{"bare 429", 429, ``, []string{"Retry-After", "7"}, bridge.Result{Class: codec.Throttled, Scope: codec.ScopeSession, Wait: 7 * time.Second}},
		{"bare 404", 404, `not here`, nil, bridge.Result{Class: codec.Transient, Tries: bareTries}},
		{"redirect", 302, ``, []string{"Location", "https://elsewhere.example/"}, bridge.Result{Class: codec.Transient, Tries: bareTries}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := newGraphServer(t)
			s := start(t, server.client(t))
			s.host.state(t, bridge.Connected)
			server.answer(t, "POST messages", test.status, []byte(test.body), test.header...)
			got := s.send(t, textBody)
			if test.want.ID == "*" && strings.HasPrefix(got.ID, "wamid.") {
				test.want.ID = got.ID
			}
			if got.Class != codec.Accepted && got.Reason == "" {
				t.Error("no reason")
			}
			got.Reason = ""
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if calls := server.count("POST messages"); calls != 1 {
				t.Errorf("%d calls: a send is never repeated here", calls)
			}
		})
	}
}

// manifestEntry is a line of the corpus's list.
type manifestEntry struct {
	file   string
	status int
}

func manifest(t testing.TB, prefix string) []manifestEntry {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(corpus(t, "manifest.tsv")))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var entries []manifestEntry
	for _, line := range lines {
		if strings.HasPrefix(line[0], prefix) {
			status, _ := strconv.Atoi(line[len(line)-1]) // 0 where there is none
			entries = append(entries, manifestEntry{line[0], status})
		}
	}
	if len(entries) == 0 {
		t.Fatalf("nothing under %s", prefix)
	}
	return entries
}

func TestSendErrorsOfTheCorpus(t *testing.T) {
	server := newGraphServer(t)
	for _, entry := range manifest(t, "error/") {
		t.Run(entry.file, func(t *testing.T) {
			body := corpus(t, entry.file)
			object, err := codec.ParseError(body)
			if err != nil {
				t.Fatal(err)
			}
			status := max(entry.status, 400)
			rule := codec.Classify(object, status)
			server.answer(t, "POST messages", status, body)
			s := start(t, server.client(t))
			s.host.state(t, bridge.Connected)
			got := s.send(t, textBody)
			if got.Class != rule.Class || got.Scope != rule.Scope || got.Wait != rule.Wait || got.Tries != rule.Tries {
				t.Errorf("got %+v, want %+v", got, rule)
			}
			if got.Error == nil || got.Error.Code != object.Code {
				t.Errorf("error object %+v", got.Error)
			}
			if strings.Contains(got.Reason, "test details") {
				t.Errorf("the reason quotes Graph: %s", got.Reason)
			}
			switch rule.Class {
			case codec.Unauthorized:
				s.host.state(t, bridge.Unauthorized)
			case codec.Denied:
				s.host.state(t, bridge.Forbidden)
			default:
				if s.Window() == 0 {
					t.Error("the session closed")
				}
			}
		})
	}
}

func TestSendCutAfterWriting(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	server.on("POST messages", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if got := s.send(t, textBody); got.Class != codec.Unknown {
		t.Errorf("got %+v", got)
	}
	if calls := server.count("POST messages"); calls != 1 {
		t.Errorf("%d calls: the transport repeated a send", calls)
	}
}

func TestSendCutInsideAnswer(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	server.on("POST messages", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"messages":[{"id":"wa`)
	})
	if got := s.send(t, textBody); got.Class != codec.Unknown {
		t.Errorf("got %+v", got)
	}
}

func TestSendTimeoutAfterWriting(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t), func(c *Config) { c.SendTimeout = time.Second })
	s.host.state(t, bridge.Connected)
	server.on("POST messages", func(_ http.ResponseWriter, r *http.Request) {
		// The server notices that a client is gone once it has read its body.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	if got := s.send(t, textBody); got.Class != codec.Unknown {
		t.Errorf("got %+v", got)
	}
}

func TestSendNeverLeft(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	s.graph.Close() // no connection is left
	server.Close()
	for range failuresInRow {
		got := s.send(t, textBody)
		if got.Class != codec.Transient || got.Error != nil {
			t.Fatalf("got %+v", got)
		}
		if strings.Contains(got.Reason, "appsecret_proof") {
			t.Errorf("the reason holds the URL: %s", got.Reason)
		}
	}
	s.host.state(t, bridge.Disconnected)
	if s.Window() != 0 {
		t.Error("the window stays open without Graph")
	}
	if got := s.send(t, textBody); got.Class != codec.Transient {
		t.Errorf("got %+v", got)
	}
}

// A server that takes connections and never reads lets a TLS-less client write
// into the kernel: whatever left counts as written.
func TestSendIntoSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's end
	server := newGraphServer(t)
	source, err := auth.NewStatic(testToken)
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGraph(GraphConfig{URL: "http://" + l.Addr().String(), Token: source})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, server.client(t), func(c *Config) { c.SendTimeout = time.Second })
	s.host.state(t, bridge.Connected)
	s.graph = g // Graph goes silent
	if got := s.send(t, textBody); got.Class != codec.Unknown {
		t.Errorf("got %+v", got)
	}
}

func TestSendWorkersAreBounded(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t), func(c *Config) { c.Window = 3 })
	s.host.state(t, bridge.Connected)
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	server.on("POST messages", func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		fmt.Fprint(w, `{"messages":[{"id":"wamid.x"}]}`)
	})
	results := make(chan bridge.Result, 10)
	for range 10 {
		s.Send(&bridge.Outgoing{Body: []byte(textBody), Done: func(r bridge.Result) { results <- r }})
	}
	for range 3 {
		<-entered
	}
	if s.mu.Lock(); s.workers != 3 || len(s.queue) != 7 {
		t.Errorf("%d workers, %d queued", s.workers, len(s.queue))
	}
	s.mu.Unlock()
	close(leave)
	for range 10 {
		if r := <-results; r.Class != codec.Accepted {
			t.Errorf("%+v", r)
		}
	}
	eventually(t, "no worker while idle", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.workers == 0
	})
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t), func(c *Config) { c.Window = 1 })
	s.host.state(t, bridge.Connected)
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	server.on("POST messages", func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-leave
		fmt.Fprint(w, `{"messages":[{"id":"wamid.x"}]}`)
	})
	first, second := make(chan bridge.Result, 1), make(chan bridge.Result, 1)
	s.Send(&bridge.Outgoing{Body: []byte(textBody), Done: func(r bridge.Result) { first <- r }})
	<-entered
	s.Send(&bridge.Outgoing{Body: []byte(textBody), Done: func(r bridge.Result) { second <- r }})
	stopped := make(chan struct{})
	go func() { s.stop(); close(stopped) }()
	if r := <-second; r.Class != codec.Transient {
		t.Errorf("queued: %+v", r)
	}
	close(leave)
	if r := <-first; r.Class != codec.Accepted {
		t.Errorf("in flight: %+v", r)
	}
	<-stopped
	if r := s.send(t, textBody); r.Class != codec.Transient {
		t.Errorf("after the end: %+v", r)
	}
}
