package broker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

func TestReadSendGivesASessionsCommandsBySequence(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	js := s.JetStream(t)
	for i := range 10 {
		send(t, js, "shop", i, 1)
		send(t, js, "support", i, 1)
	}
	first, err := b.ReadSend(t.Context(), "shop", 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := b.ReadSend(t.Context(), "shop", first[3].Sequence+1, 100)
	if err != nil {
		t.Fatal(err)
	}
	all := append(first, rest...)
	if len(first) != 4 || len(all) != 10 {
		t.Fatalf("read %d and %d commands, want 4 and 6", len(first), len(rest))
	}
	for i, d := range all {
		if d.Session != "shop" || d.Sequence != uint64(2*i+1) || string(d.Body) != fmt.Sprint(i) || d.Shard != bridge.Shard("shop", 32) || d.Pending != uint64(9-i) {
			t.Errorf("command %d = %+v", i, d)
		}
		if d.HeaderValue("Nats-Msg-Id") != fmt.Sprintf("shop-%d", i) || time.Since(d.Stored) > time.Hour {
			t.Errorf("command %d: header %v, stored %v", i, d.Header, d.Stored)
		}
		for name := range d.Header {
			if name != "Nats-Msg-Id" {
				t.Errorf("command %d has header %s, which its publisher did not set", i, name)
			}
		}
		if err := errors.Join(d.Settler.Ack(), d.Settler.InProgress(), d.Settler.TermWithReason("x")); err != nil {
			t.Error(err)
		}
	}
	end, err := b.ReadSend(t.Context(), "shop", 21, 100)
	if err != nil || len(end) != 0 {
		t.Errorf("%d commands after the end (%v)", len(end), err)
	}
}

func TestReadSendIsNotFooledByHeaders(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	m := nats.NewMsg("wa.send.shop")
	m.Header.Set("Nats-Sequence", "99")
	m.Header.Set("Status", "404")
	if _, err := s.JetStream(t).PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := b.ReadSend(t.Context(), "shop", 1, 10)
	if err != nil || len(got) != 1 || got[0].Sequence != 1 || got[0].HeaderValue("Nats-Sequence") != "99" {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestOutcomeReadsOneRecord(t *testing.T) {
	b := open(t, bridgetest.NATS(t))
	store := b.NewStore("shop")
	r := newRecorder()
	for i := range 3 {
		if err := store.Put(t.Context(), r.record("shop", i, fmt.Appendf(nil, "body %d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	subject, header, body, err := b.Outcome(t.Context(), 2)
	if err != nil || subject != "wa.recv.shop" || string(body) != "body 1" || header["Nats-Msg-Id"][0] != "shop:1" {
		t.Errorf("outcome = %s, %v, %q, %v", subject, header, body, err)
	}
	if _, _, _, err := b.Outcome(t.Context(), 4); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("outcome that is not there: %v", err)
	}
}

func TestScanRecvReadsHeadersToTheEnd(t *testing.T) {
	b := open(t, bridgetest.NATS(t))
	shop, support := b.NewStore("shop"), b.NewStore("support")
	r := newRecorder()
	const n = 1200
	for i := range n {
		record := r.record("shop", i, make([]byte, 100))
		record.Subject = []string{"wa.recv.shop", "wa.status.shop", "wa.event.shop"}[i%3]
		if err := shop.Put(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	if err := shop.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := support.Put(t.Context(), newRecorder().record("support", 0, nil)); err != nil {
		t.Fatal(err)
	}
	if err := support.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := 5
	err := b.ScanRecv(t.Context(), 5, func(session string, header map[string][]string) error {
		want := fmt.Sprintf("shop:%d", next-1)
		if next == n+1 {
			want = "support:0"
		}
		if id := header["Nats-Msg-Id"][0]; id != want || session != strings.Split(want, ":")[0] {
			return fmt.Errorf("session %s with %v, want %s", session, header, want)
		}
		next++
		return nil
	})
	if err != nil || next != n+2 {
		t.Errorf("scanned up to %d of %d: %v", next-1, n+1, err)
	}
	if end, err := b.RecvEnd(t.Context()); err != nil || end != n+1 {
		t.Errorf("the end is %d, %v; want %d", end, err, n+1)
	}
	never := func(session string, _ map[string][]string) error { return fmt.Errorf("a record of %s", session) }
	if err := b.ScanRecv(t.Context(), n+2, never); err != nil {
		t.Errorf("a scan behind the end: %v", err)
	}
	wanted := errors.New("no more")
	if err := b.ScanRecv(t.Context(), 0, func(string, map[string][]string) error { return wanted }); !errors.Is(err, wanted) {
		t.Errorf("error of the callback: %v", err)
	}
	// Readers leave no consumer behind.
	stream, err := b.JetStream().Stream(t.Context(), "WA_RECV")
	if err != nil {
		t.Fatal(err)
	}
	if consumers := stream.CachedInfo().State.Consumers; consumers != 0 {
		t.Errorf("%d consumers are left", consumers)
	}
}

func TestScanRecvOfAnEmptyStream(t *testing.T) {
	b := open(t, bridgetest.NATS(t))
	err := b.ScanRecv(t.Context(), 0, func(session string, _ map[string][]string) error { return fmt.Errorf("a record of %s", session) })
	if err != nil {
		t.Error(err)
	}
	if end, err := b.RecvEnd(t.Context()); err != nil || end != 0 {
		t.Errorf("the end is %d, %v", end, err)
	}
}

func TestFindRecvLooksBackInTime(t *testing.T) {
	b := open(t, bridgetest.NATS(t))
	store := b.NewStore("shop")
	r := newRecorder()
	begin := time.Now()
	for i := range 50 {
		if err := store.Put(t.Context(), r.record("shop", i, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		session, id string
		since       time.Time
		want        bool
	}{
		{"shop", "shop:0", begin, true},
		{"shop", "shop:49", begin, true},
		{"shop", "shop:50", begin, false},
		{"support", "shop:0", begin, false},
		{"shop", "shop:0", time.Now().Add(time.Hour), false},
	} {
		got, err := b.FindRecv(t.Context(), test.session, test.since, test.id)
		if err != nil || got != test.want {
			t.Errorf("FindRecv(%s, %s) = %v, %v, want %v", test.session, test.id, got, err, test.want)
		}
	}
}
