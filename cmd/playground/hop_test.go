package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"wabridge/bridge/bridgetest"
)

func at(stream string, sequence uint64) *jetstream.MsgMetadata {
	return &jetstream.MsgMetadata{Stream: stream, Sequence: jetstream.SequencePair{Stream: sequence}, Timestamp: time.Unix(1795430000, 0)}
}

func TestRecord(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	created := time.Unix(1795000000, 0)
	for _, tc := range []struct {
		subject, body        string
		header               nats.Header
		kind, shown, is, ref string
		trace, state         string
	}{
		{subject: "wa.outbox.22.demo", body: `{"to":"+1","text":"hi"}`, kind: "send", shown: "wa.send.demo", is: "text", ref: "WA_SEND:1795000000:7"},
		{subject: "wa.outbox.22.demo", body: `{"type":"image"}`, header: nats.Header{"Nats-Msg-Id": {"a"}}, kind: "send", shown: "wa.send.demo", is: "image", ref: "a"},
		{subject: "wa.outbox.22.demo", body: `{"status":"read","typing_indicator":{}}`, header: nats.Header{"Nats-Msg-Id": {"a"}, "Wa-Ref": {"b"}}, kind: "send", shown: "wa.send.demo", is: "typing_indicator", ref: "b"},
		{subject: "wa.outbox.22.demo", body: `{"status":"read"}`, header: nats.Header{"Traceparent": {parent}}, kind: "send", shown: "wa.send.demo", is: "read", ref: "WA_SEND:1795000000:7", trace: parent[3:35]},
		{subject: "wa.outbox.22.demo", body: `no JSON`, kind: "send", shown: "wa.send.demo", ref: "WA_SEND:1795000000:7"},
		{subject: "wa.status.demo", body: `{"ref":"a"}`, header: nats.Header{"ce-type": {"whatsapp.status.sent"}, "traceparent": {parent}}, kind: "status", shown: "wa.status.demo", is: "status.sent", ref: "a", trace: parent[3:35]},
		{subject: "wa.event.demo", body: `{"value":{"state":"paused"}}`, header: nats.Header{"ce-type": {"whatsapp.event.session_state"}}, kind: "event", shown: "wa.event.demo", is: "event.session_state", state: "paused"},
		{subject: "wa.event.demo", body: `{"value":{"state":"paused"}}`, header: nats.Header{"ce-type": {"whatsapp.event.flows"}}, kind: "event", shown: "wa.event.demo", is: "event.flows"},
	} {
		r := newRecord(at("WA_SEND", 7), &nats.Msg{Subject: tc.subject, Data: []byte(tc.body), Header: tc.header}, created)
		got := []string{r.Kind, r.Subject, r.Type, r.ref, r.Trace, r.State}
		want := []string{tc.kind, tc.shown, tc.is, tc.ref, tc.trace, tc.state}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s %s: got %q, want %q", tc.subject, tc.body, got, want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	for _, body := range []string{`{"to":"+1","text":"hi"}`, `{"ref":"a","value":{"state":"x"}}`, "\xff\x00", "", `{"type":5}`, strings.Repeat("é", 200)} {
		f.Add("wa.outbox.1.demo", []byte(body), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		f.Add("wa.event.demo", []byte(body), "whatsapp.event.session_state")
	}
	f.Fuzz(func(t *testing.T, subject string, body []byte, value string) {
		m := &nats.Msg{Subject: subject, Data: body, Header: nats.Header{"traceparent": {value}, "ce-type": {value}, "Wa-Ref": {value}}}
		o := newRecord(at("WA_RECV", 1), m, time.Unix(0, 0)).open()
		if !utf8.ValidString(o.Line) || !utf8.ValidString(o.Body) {
			t.Errorf("not UTF-8: %q %q", o.Line, o.Body)
		}
		if utf8.Valid(body) && len(body) <= bodyBytes && o.Body != string(body) {
			t.Errorf("the body is %q, want %q", o.Body, body)
		}
		if _, err := json.Marshal(o); err != nil {
			t.Error(err)
		}
	})
}

func TestLongBodiesAreCutBetweenCharacters(t *testing.T) {
	body := "a" + strings.Repeat("é", bodyBytes)
	o := newRecord(at("WA_RECV", 1), &nats.Msg{Subject: "wa.recv.demo", Data: []byte(body)}, time.Time{}).open()
	if !o.Cut || o.Escaped || !strings.HasPrefix(body, o.Body) || len(o.Body) < bodyBytes-utf8.UTFMax {
		t.Errorf("cut %v, escaped %v, %d bytes", o.Cut, o.Escaped, len(o.Body))
	}
}

// newHop is a hop over a NATS server without a bridge.
func newHop(t *testing.T) (*hop, string) {
	t.Helper()
	h, err := startHop(t.Context(), bridgetest.NATS(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h.handler())
	t.Cleanup(func() {
		if err := h.close(context.Background()); err != nil {
			t.Error(err)
		}
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h, server.URL
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPublishSaysWhatIsWrong(t *testing.T) {
	_, url := newHop(t)
	for _, tc := range []struct{ body, says string }{
		{`{"session":"demo","body":"x"}`, errNotStored.Error()},
		{`{"session":"a.b","body":"x"}`, "a session id is"},
		{`{"session":"*","body":"x"}`, "a session id is"},
		{`{"session":"demo","subject":"wa.recv.demo"}`, "subject"},
		{`nonsense`, "reading the request"},
		{`{"body":"` + strings.Repeat("x", maxBody) + `"}`, "too large"},
	} {
		if status, answer := post(t, url+"/hop/publish", tc.body); status != http.StatusBadRequest || !strings.Contains(answer, tc.says) {
			t.Errorf("%.60s: %d %s", tc.body, status, answer)
		}
	}
}

// A page that comes back gets what it missed, a new one what is kept, and one
// that knew another hop everything.
func TestStreamGoesOn(t *testing.T) {
	h, url := newHop(t)
	for i := range keptRecords + 10 {
		h.add(newRecord(at("WA_RECV", uint64(i+1)), &nats.Msg{Subject: "wa.recv.demo", Data: fmt.Appendf(nil, "%d", i+1)}, time.Time{}))
	}
	type news struct {
		Boot     string
		Messages []record
		Counts   map[string]int
	}
	first := func(query string) news {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/hop/stream?"+query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }() // the stream has no end
		line, err := bufio.NewReader(resp.Body).ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var n news
		if err := json.Unmarshal(bytes.TrimPrefix(line, []byte("data: ")), &n); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	all := first("")
	if len(all.Messages) != pageRows || all.Messages[pageRows-1].Line != fmt.Sprint(keptRecords+10) || all.Counts["recv"] != keptRecords+10 {
		t.Errorf("a new page got %d messages, counts %v", len(all.Messages), all.Counts)
	}
	last := all.Messages[pageRows-1].N
	if n := first(fmt.Sprintf("boot=%s&after=%d", all.Boot, last-2)); len(n.Messages) != 2 || n.Messages[0].N != last-1 {
		t.Errorf("a page that missed two got %d", len(n.Messages))
	}
	if n := first(fmt.Sprintf("boot=another&after=%d", last-2)); len(n.Messages) != pageRows {
		t.Errorf("a page of another hop got %d", len(n.Messages))
	}
	if _, ok := h.find(10); ok {
		t.Error("a message that was dropped is found")
	}
	if o, ok := h.find(11); !ok || o.Body != "11" {
		t.Errorf("the oldest message: %v %+v", ok, o)
	}
}

func TestSpansAreKept(t *testing.T) {
	changes := 0
	s := newSpans(func() { changes++ })
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s))
	tracer := provider.Tracer("test")
	ctx, parent := tracer.Start(t.Context(), "parent")
	_, child := tracer.Start(ctx, "child")
	child.SetStatus(codes.Error, "broken")
	child.End()
	parent.End()
	id := parent.SpanContext().TraceID().String()
	got := s.trace(id)
	if len(got) != 2 || got[0].Name != "parent" || got[1].Parent != got[0].ID || !got[1].Error || got[1].Text != "broken" || changes != 2 {
		t.Errorf("%d changes, spans %+v", changes, got)
	}
	ids, version := s.since(0)
	if len(ids) != 1 || ids[0] != id {
		t.Errorf("changed: %v", ids)
	}
	if ids, _ := s.since(version); len(ids) != 0 {
		t.Errorf("changed after the last change: %v", ids)
	}
	for range maxTraces {
		_, other := tracer.Start(t.Context(), "other")
		other.End()
	}
	if n := len(s.trace(id)); n != 0 || len(s.traces) != maxTraces {
		t.Errorf("%d spans of the oldest trace of %d", n, len(s.traces))
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
