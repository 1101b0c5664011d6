package stack

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// One message out: delivered once, and every status in order, once each, with
// the ref and the headers that consumers rely on.
func TestSend(t *testing.T) {
	s := New(t, Config{})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	for _, c := range []struct{ name, id string }{{"with a message id", "order-1234"}, {"without one", ""}} {
		t.Run(c.name, func(t *testing.T) {
			sequence := s.Publish(t, Demo, c.id, `{"to":"+15550142233","text":"Your parcel is here"}`)
			ref := c.id
			for i, want := range []string{"accepted", "sent", "delivered", "read"} {
				m := statuses.Next(t)
				got, word := StatusOf(t, m)
				if ref == "" {
					ref = got // made by the bridge; the same on each
				}
				if got != ref || word != want {
					t.Errorf("status %d is %s of %s, want %s of %s", i, word, got, want, ref)
				}
				checkHeaders(t, m, map[string]string{
					"ce-type": "whatsapp.status." + want, "ce-source": "/wabridge/" + Demo, "ce-specversion": "1.0",
					"ce-subject": "15550142233", "ce-datacontenttype": "application/json",
				})
				if want == "accepted" {
					if id := Demo + ":" + strconv.FormatUint(sequence, 10) + ":outcome"; m.Headers().Get("Nats-Msg-Id") != id {
						t.Errorf("the outcome's message id is %q, want %q", m.Headers().Get("Nats-Msg-Id"), id)
					}
				}
			}
		})
	}
	statuses.Quiet(t, 200*time.Millisecond)
	phone, ok := s.Sim.Phone("15550142233")
	if !ok || len(phone.Messages) != 2 {
		t.Fatalf("the phone has %d messages, want 2", len(phone.Messages))
	}
	if v := s.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}

func checkHeaders(t *testing.T, m jetstream.Msg, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := m.Headers()[name]; !slices.Equal(got, []string{value}) {
			t.Errorf("header %s of %s is %q, want %q", name, m.Subject(), got, value)
		}
	}
	for _, name := range []string{"ce-id", "ce-time", "Nats-Msg-Id", "traceparent"} {
		if len(m.Headers()[name]) != 1 {
			t.Errorf("header %s of %s: %q, want one value", name, m.Subject(), m.Headers()[name])
		}
	}
}
