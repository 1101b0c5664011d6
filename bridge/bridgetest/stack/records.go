package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Records reads what is stored on a stream, from its beginning or from a
// sequence on, in order.
type Records struct {
	all  []jetstream.Msg
	feed chan jetstream.Msg
}

// Follow reads the messages on a subject of a stream from its beginning.
func (s *Stack) Follow(t testing.TB, stream string, subjects ...string) *Records {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	consumer, err := s.JS.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: subjects})
	if err != nil {
		t.Fatalf("reading %s: %v", stream, err)
	}
	r := &Records{feed: make(chan jetstream.Msg, 1<<16)}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { r.feed <- m })
	if err != nil {
		t.Fatalf("reading %s: %v", stream, err)
	}
	t.Cleanup(func() {
		consuming.Stop()
		<-consuming.Closed()
	})
	return r
}

// Next waits for the next message.
func (r *Records) Next(t testing.TB) jetstream.Msg {
	t.Helper()
	select {
	case m := <-r.feed:
		r.all = append(r.all, m)
		return m
	case <-time.After(patience):
		t.Fatalf("no further message within %v, after %d", patience, len(r.all))
		return nil
	}
}

// Until reads on until a message satisfies cond, and returns that one.
func (r *Records) Until(t testing.TB, cond func(jetstream.Msg) bool) jetstream.Msg {
	t.Helper()
	for {
		if m := r.Next(t); cond(m) {
			return m
		}
	}
}

// Quiet fails the test where another message comes within d.
func (r *Records) Quiet(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case m := <-r.feed:
		t.Fatalf("an unexpected message on %s: %s", m.Subject(), m.Data())
	case <-time.After(d):
	}
}

// StatusOf is the word and the ref of a message on wa.status.
func StatusOf(t testing.TB, m jetstream.Msg) (ref, word string) {
	t.Helper()
	var body struct{ Ref, Status string }
	if err := json.Unmarshal(m.Data(), &body); err != nil {
		t.Fatalf("a status that is not JSON: %v: %s", err, m.Data())
	}
	return body.Ref, body.Status
}

// Statuses reads n statuses of one ref and returns their words in order.
func (r *Records) Statuses(t testing.TB, ref string, n int) []string {
	t.Helper()
	var words []string
	for len(words) < n {
		if got, word := StatusOf(t, r.Next(t)); got == ref {
			words = append(words, word)
		}
	}
	return words
}

func contains(data []byte, text string) bool { return bytes.Contains(data, []byte(text)) }
