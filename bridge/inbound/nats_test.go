package inbound_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/inbound"
	"wabridge/codec"
)

// stored is a real JetStream with the streams and the bucket that inbound
// writes, and the smallest store that keeps the order: one at a time.
type stored struct {
	js jetstream.JetStream
}

func newStored(t *testing.T, options ...bridgetest.Option) *stored {
	t.Helper()
	s := &stored{js: bridgetest.NATS(t, options...).JetStream(t)}
	for name, subjects := range map[string][]string{
		"WA_RECV": {"wa.recv.*", "wa.status.*", "wa.event.*"}, "WA_DEAD": {"wa.dead.*"},
	} {
		if _, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: name, Subjects: subjects, Duplicates: 2 * time.Hour, Storage: jetstream.MemoryStorage,
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "wa_media"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stored) Put(ctx context.Context, r *bridge.Record) error {
	ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: r.Subject, Header: r.Header, Data: r.Body})
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		r.Done(bridge.Stored{Err: bridge.ErrTooLarge})
	case err != nil:
		return err
	default:
		r.Done(bridge.Stored{Sequence: ack.Sequence, Duplicate: ack.Duplicate})
	}
	return nil
}

func (s *stored) FindRecv(ctx context.Context, session string, since time.Time, msgID string) (bool, error) {
	for _, m := range s.all(ctx, "WA_RECV", 1) {
		if strings.HasSuffix(m.Subject, "."+session) && !m.Time.Before(since) && m.Header.Get("Nats-Msg-Id") == msgID {
			return true, nil
		}
	}
	return false, nil
}

// all reads a stream from a sequence on.
func (s *stored) all(ctx context.Context, stream string, from uint64) []*jetstream.RawStreamMsg {
	st, err := s.js.Stream(ctx, stream)
	if err != nil {
		panic(err)
	}
	var msgs []*jetstream.RawStreamMsg
	for seq := from; seq <= st.CachedInfo().State.LastSeq; seq++ {
		m, err := st.GetMsg(ctx, seq)
		if err != nil {
			panic(err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

func (s *stored) session(t *testing.T, past inbound.Position) *inbound.Session {
	t.Helper()
	cfg := config(t, s)
	cfg.Found, cfg.Past = s, past
	cfg.Spill = spillFunc(func(ctx context.Context, name string, r io.Reader) (string, error) {
		media, err := s.js.ObjectStore(ctx, "wa_media")
		if err != nil {
			return "", err
		}
		_, err = media.Put(ctx, jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: 16 << 10}}, r)
		return name, err
	})
	return newSession(t, cfg)
}

func TestBytesPassThrough(t *testing.T) {
	s := newStored(t)
	in := s.session(t, inbound.Position{})
	inner := `{ "from" : "15550142233",` + "\n\t" + `"id":"wamid.1" ,"timestamp":"1795430000","type":"text",` +
		`"text":{"body":"a < b & c \/ d \u00e9 é 😀 \ud83d\ude00"},  "unknown":[9007199254740993, 1.50, -0.0e+1, {}, [ ] ],"x":null }`
	bodies := []string{
		"{ \"metadata\" : {\"phone_number_id\":\"880090070060050\"} , \"message\":" + inner + ",\"contact\":{\"profile\":{\"name\":\"\\u0026 <Marta>\"}} }",
		`{"message":` + strings.Replace(inner, "wamid.1", "wamid.2", 1) + `}`,
	}
	for _, body := range bodies {
		receive(t, in, &bridge.Inbound{Kind: bridge.KindMessage, Data: []byte(body)})
	}
	event := `{"value":{"message_template_id":9007199254740993 , "t":"\/<\u00e9"},"field":"template_category_update" }`
	receive(t, in, &bridge.Inbound{Kind: bridge.KindEvent, Data: []byte(event)})
	dead := "\x00\x01\xfe\xff not JSON \r\n"
	receive(t, in, &bridge.Inbound{Kind: bridge.KindPoison, Data: []byte(dead), Reason: "not JSON"})

	recv := s.all(t.Context(), "WA_RECV", 1)
	if len(recv) != 3 {
		t.Fatalf("got %d messages, want 3", len(recv))
	}
	for i, want := range append(bodies, event) {
		if string(recv[i].Data) != want {
			t.Errorf("got  %s\nwant %s", recv[i].Data, want)
		}
	}
	if m := s.all(t.Context(), "WA_DEAD", 1); len(m) != 1 || string(m[0].Data) != dead || m[0].Header.Get("Wa-Dead-Reason") != "not JSON" {
		t.Errorf("got dead letters %v", m)
	}
}

func TestRepeatsAreStoredOnce(t *testing.T) {
	s := newStored(t)
	in := s.session(t, inbound.Position{})
	heard := new(acks)
	for range 3 {
		for _, give := range []bridge.Inbound{
			{Kind: bridge.KindMessage, Data: []byte(message), Epoch: "e1", Sequence: 1},
			{Kind: bridge.KindStatus, Data: []byte(statusOf), Epoch: "e1", Sequence: 2},
			{Kind: bridge.KindEvent, Data: []byte(`{"field":"flows","value":{}}`), Time: time.Unix(1795430000, 0), Epoch: "e1", Sequence: 3},
			{Kind: bridge.KindPoison, Data: []byte("junk"), Reason: "not JSON", Epoch: "e1", Sequence: 4},
		} {
			give.Acker = heard
			receive(t, in, &give)
		}
	}
	if n := len(s.all(t.Context(), "WA_RECV", 1)); n != 3 {
		t.Errorf("WA_RECV holds %d, want 3", n)
	}
	if n := len(s.all(t.Context(), "WA_DEAD", 1)); n != 1 {
		t.Errorf("WA_DEAD holds %d, want 1", n)
	}
	if heard.len() != 12 {
		t.Errorf("%d acked, want 12", heard.len())
	}
}

// TestCorpus sends every webhook example of the Cloud API through.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("../../codec/testdata/cloudapi/webhook/*.json")
	if err != nil || len(files) < 50 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	s := newStored(t)
	in := s.session(t, inbound.Position{})
	subjects := map[codec.PartKind]string{
		codec.PartMessage: "wa.recv.shop", codec.PartStatus: "wa.status.shop", codec.PartEvent: "wa.event.shop", codec.PartPoison: "wa.dead.shop",
	}
	kinds := map[codec.PartKind]bridge.Kind{
		codec.PartMessage: bridge.KindMessage, codec.PartStatus: bridge.KindStatus, codec.PartEvent: bridge.KindEvent, codec.PartPoison: bridge.KindPoison,
	}
	total := 0
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := codec.ParseWebhook(body)
		if err != nil || len(parts) == 0 {
			t.Fatalf("%s: %d parts, %v", file, len(parts), err)
		}
		for i, part := range parts {
			total++
			r := one(t, &bridge.Inbound{Kind: kinds[part.Kind], Data: part.Data, Reason: "poison", Epoch: "e1", Sequence: uint64(total)})
			receive(t, in, &bridge.Inbound{Kind: kinds[part.Kind], Data: part.Data, Reason: "poison", Epoch: "e1", Sequence: uint64(total)})
			if r.Subject != subjects[part.Kind] {
				t.Errorf("%s part %d: got %s (%v), want %s", file, i, r.Subject, r.Header["Wa-Dead-Reason"], subjects[part.Kind])
			}
			if part.Kind == codec.PartStatus {
				report, err := codec.ParseReport(r.Body)
				if err != nil || !bytes.Equal(report.Raw, part.Data) {
					t.Errorf("%s part %d: raw is not as it came: %v", file, i, err)
				}
			} else if !bytes.Equal(r.Body, part.Data) {
				t.Errorf("%s part %d: body is not as it came", file, i)
			}
		}
	}
	n := len(s.all(t.Context(), "WA_RECV", 1)) + len(s.all(t.Context(), "WA_DEAD", 1))
	if n < total*2/3 || n > total {
		t.Errorf("%d of %d are stored", n, total)
	}
}

func TestTooLargeForNATS(t *testing.T) {
	s := newStored(t, bridgetest.MaxPayload(64<<10))
	in := s.session(t, inbound.Position{})
	heard := new(acks)
	give := []*bridge.Inbound{padded(1, 10), padded(2, 100<<10), padded(3, 10), {
		Kind: bridge.KindPoison, Data: bytes.Repeat([]byte("x"), 100<<10), Reason: "not JSON", Epoch: "e1", Sequence: 4,
	}, {
		Kind: bridge.KindEvent, Data: []byte(`{"field":"history","value":"` + strings.Repeat("y", 100<<10) + `"}`), Epoch: "e1", Sequence: 5,
	}, padded(6, 10)}
	for _, g := range give {
		g.Acker = heard
		receive(t, in, g)
	}
	if heard.len() != len(give) {
		t.Errorf("%d acked, want %d", heard.len(), len(give))
	}
	var order []string
	media, err := s.js.ObjectStore(t.Context(), "wa_media")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(s.all(t.Context(), "WA_RECV", 1), s.all(t.Context(), "WA_DEAD", 1)...) {
		order = append(order, m.Header.Get("Wa-Sequence"))
		name := m.Header.Get("Wa-Object")
		if name == "" {
			continue
		}
		var n int
		if _, err := fmt.Sscan(m.Header.Get("Wa-Sequence"), &n); err != nil {
			t.Fatal(err)
		}
		got, err := media.GetBytes(t.Context(), name)
		if err != nil || !bytes.Equal(got, give[n-1].Data) {
			t.Errorf("object %s of %d: %d bytes, %v", name, n, len(got), err)
		}
		if !strings.Contains(string(m.Data), `"object":"`+name+`"`) {
			t.Errorf("got body %s", m.Data)
		}
	}
	if got := strings.Join(order, " "); got != "1 2 3 5 6 4" {
		t.Errorf("stored %s; want 1 2 3 5 6 on WA_RECV, then 4 on WA_DEAD", got)
	}
}

func TestPositionFromTheStream(t *testing.T) {
	s := newStored(t)
	first := s.session(t, inbound.Position{})
	for n := 1; n <= 5; n++ {
		receive(t, first, numbered("e1", n))
	}
	past, _ := first.Checkpoint()
	for n := 6; n <= 8; n++ { // after the last checkpoint: then it dies
		receive(t, first, numbered("e1", n))
	}
	for _, m := range s.all(t.Context(), "WA_RECV", 6) {
		past.Found(m.Header)
	}
	second := s.session(t, past)
	for _, want := range []struct {
		epoch    string
		sequence uint64
	}{{"e1", 8}, {"e2", 0}} {
		if got, err := second.Position(t.Context(), want.epoch); err != nil || got != want.sequence {
			t.Errorf("epoch %s: got %d, %v; want %d", want.epoch, got, err, want.sequence)
		}
	}
	receive(t, second, numbered("e2", 1))
	receive(t, second, numbered("e2", 2))
	for name, from := range map[string]int{"nothing of e2 was saved": 6, "nothing at all was saved": 1} {
		var past inbound.Position
		for _, m := range s.all(t.Context(), "WA_RECV", uint64(from)) {
			past.Found(m.Header)
		}
		if got, err := s.session(t, past).Position(t.Context(), "e2"); err != nil || got != 2 {
			t.Errorf("%s: got %d, %v; want 2", name, got, err)
		}
	}
}

func TestWebhookOfTheSeventhDay(t *testing.T) {
	s := newStored(t)
	in := s.session(t, inbound.Position{})
	receive(t, in, old(1, 0))
	seventh := old(1, 0)
	seventh.Data = []byte(strings.Replace(string(seventh.Data), `"timestamp":"`, `"timestamp":"1600000000","was":"`, 1))
	receive(t, in, seventh) // the window is 2 h: only a look into the stream tells
	if n := len(s.all(t.Context(), "WA_RECV", 1)); n != 1 {
		t.Errorf("WA_RECV holds %d, want 1", n)
	}
}
