package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge/bridgetest"
	"wabridge/codec"
)

// answer plays the bridge for one session: to each command it publishes the
// status that say returns, under the id of an outcome, and hands the command
// over.
func answer(t *testing.T, server *bridgetest.Server, session string, say func(command jetstream.Msg, ref string) codec.Report) <-chan jetstream.Msg {
	t.Helper()
	js := server.JetStream(t)
	n := names(t)
	consumer, err := js.OrderedConsumer(t.Context(), n.SendStream(), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"wa.outbox.*." + session},
	})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan jetstream.Msg, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := messages.Next()
			if err != nil {
				return // stopped at the end of the test
			}
			if err := publishOutcome(t.Context(), js, session, m, say); err != nil {
				t.Error(err)
			}
			seen <- m
		}
	}()
	t.Cleanup(func() { messages.Stop(); <-done })
	return seen
}

func publishOutcome(ctx context.Context, js jetstream.JetStream, session string, m jetstream.Msg, say func(jetstream.Msg, string) codec.Report) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	ref, err := codec.Ref(m.Headers(), "WA_SEND", time.Now(), meta.Sequence.Stream)
	if err != nil {
		return err
	}
	report := say(m, ref)
	if report.Status == "" {
		return nil
	}
	report.Ref, report.At = ref, time.Now()
	// What comes of another command stands between.
	for _, id := range []string{fmt.Sprintf("%s:%d:outcome", session, meta.Sequence.Stream+1000), fmt.Sprintf("%s:%d:outcome", session, meta.Sequence.Stream)} {
		msg := &nats.Msg{Subject: "wa.status." + session, Data: report.Append(nil), Header: nats.Header{codec.HeaderMsgID: {id}}}
		if strings.Contains(id, "1000") {
			msg.Data = (&codec.Report{Ref: ref, Status: codec.StatusRejected, At: report.At}).Append(nil)
		}
		_, publishErr := js.PublishMsg(ctx, msg)
		err = errors.Join(err, publishErr)
	}
	return err
}

func TestSend(t *testing.T) {
	for _, test := range []struct {
		name   string
		report codec.Report
		code   int
		out    string
	}{
		{"accepted", codec.Report{ID: "wamid.X", Status: codec.StatusAccepted}, exitOK, "accepted  ref order-1  id wamid.X  trace "},
		{"rejected", codec.Report{Status: codec.StatusRejected, Error: &codec.ReportError{
			Class: codec.Permanent, Code: 131047, Title: "Re-engagement", Detail: "more than 24 hours\x1b[2J",
		}}, exitRefused, `rejected  ref order-1  permanent (131047): Re-engagement: more than 24 hours\x1b[2J  trace `},
		{"expired", codec.Report{Status: codec.StatusExpired}, exitRefused, "expired  ref order-1  trace "},
		{"unknown", codec.Report{Status: codec.StatusUnknown}, exitUnknown, "unknown  ref order-1  trace "},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := natsWithStreams(t)
			seen := answer(t, server, "demo", func(jetstream.Msg, string) codec.Report { return test.report })
			r := command(t, "", "send", "demo", "--to", "+15550142233", "--text", `<hello "you">`,
				"--ref", "order-1", "--deadline", "1h").want(t, test.code)
			if !strings.HasPrefix(r.out, test.out) || r.errors != "" {
				t.Errorf("out %q, errors %q", r.out, r.errors)
			}
			m := <-seen
			if got := string(m.Data()); got != `{"text":{"body":"\u003chello \"you\"\u003e"},"to":"+15550142233","type":"text"}` {
				t.Errorf("command %s", got)
			}
			h := m.Headers()
			if h.Get("Wa-Ref") != "order-1" || len(h.Get("Nats-Msg-Id")) < 20 ||
				!regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(h.Get("traceparent")) {
				t.Errorf("headers %v", h)
			}
			if at, err := codec.Deadline(h); err != nil || time.Until(at) < 50*time.Minute {
				t.Errorf("deadline %v: %v", at, err)
			}
		})
	}
}

func TestSendJSON(t *testing.T) {
	server := natsWithStreams(t)
	seen := answer(t, server, "demo", func(jetstream.Msg, string) codec.Report {
		return codec.Report{ID: "wamid.X", Status: codec.StatusAccepted}
	})
	const body = `{"to":"+15550142233", "type":"reaction", "reaction":{"message_id":"wamid.Y","emoji":"👍"}}`
	r := command(t, body, "send", "demo", "--body", "-", "--json").want(t, exitOK)
	m := <-seen
	if string(m.Data()) != body {
		t.Errorf("the command was changed: %s", m.Data())
	}
	var got outcome
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	report, err := codec.ParseReport(got.Report)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != codec.StatusAccepted || got.Ref != m.Headers().Get("Nats-Msg-Id") || got.Sequence != 1 ||
		report.ID != "wamid.X" || !strings.Contains(m.Headers().Get("traceparent"), got.TraceID) {
		t.Errorf("got %+v", got)
	}
	file := writeFile(t, body)
	command(t, "", "send", "demo", "--body", file).want(t, exitOK)
	if m := <-seen; string(m.Data()) != body {
		t.Errorf("the command was changed: %s", m.Data())
	}
}

func TestSendWithoutOutcome(t *testing.T) {
	natsWithStreams(t)
	r := command(t, "", "send", "demo", "--to", "+15550142233", "--text", "hello", "--timeout", "300ms", "--json").want(t, exitTimedOut)
	var got outcome
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.Status != statusPending || got.Sequence != 1 {
		t.Errorf("%v: %s", err, r.out)
	}
	if !strings.Contains(r.errors, "no outcome within 300ms") {
		t.Errorf("errors %q", r.errors)
	}
}

func TestCommandsWithoutStreams(t *testing.T) {
	server := bridgetest.NATS(t)
	environment(t, "NATS_URL="+server.URL())
	for _, line := range []string{"send demo --to +1 --text x", "tail", "dead ls", "dead show 1"} {
		r := command(t, "", strings.Fields(line)...).want(t, exitFailed)
		if !strings.Contains(r.errors, "there is no stream WA_") || strings.Count(r.errors, "\n") != 1 {
			t.Errorf("%s: %q", line, r.errors)
		}
	}
	server.Stop()
	r := command(t, "", "send", "demo", "--to", "+1", "--text", "x").want(t, exitFailed)
	if !strings.Contains(r.errors, "connecting to NATS") {
		t.Errorf("errors %q", r.errors)
	}
}
