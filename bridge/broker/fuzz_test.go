package broker

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// FuzzAnswer compares the quick reading of a PubAck with encoding/json's.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"stream":"WA_RECV", "seq":17}`,
		`{"stream":"WA_RECV", "seq":17,"duplicate": true}`,
		`{"stream":"WA_RECV", "domain":"edge", "seq":18446744073709551615}`,
		`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"WA_RECV","seq":0}`,
		`{"stream":"", "seq":}`, `{"stream":"a","seq":0}`, ``, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := readAnswer(&nats.Msg{Data: data})
		if (a.err == nil) != (a.sequence > 0) {
			t.Fatalf("answer %+v", a)
		}
		if sequence, ok := plainAck(data); ok {
			var ack jetstream.PubAck
			if err := json.Unmarshal(data, &ack); err == nil && (ack.Sequence != sequence || ack.Duplicate) {
				t.Fatalf("read %d, encoding/json reads %+v", sequence, ack)
			}
		}
	})
}

func FuzzPosition(f *testing.F) {
	for _, seed := range []string{
		"$JS.ACK.WA_SEND.shard-1.1.42.7.1795430000000000000.3",
		"$JS.ACK.edge.ACCHASH.WA_SEND.shard-1.1.42.7.1795430000000000000.3",
		"$JS.ACK._.ACCHASH.WA_SEND.shard-1.1.42.7.1795430000000000000.3.random",
		"$JS.ACK.", "", ".........",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		at, err := readPosition(reply)
		if err == nil && at.stored.IsZero() {
			t.Fatalf("position %+v of %q", at, reply)
		}
	})
}

func FuzzLeaderAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"message":{"subject":"wa.recv.shop","seq":3,"hdrs":"TkFUUy8xLjANCmE6IGINCg0K","data":"eA==","time":"2026-11-28T03:00:00Z"}}`,
		`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`,
		`{"message":{"hdrs":"TkFUUw=="}}`, `{}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := readLeader(data); (m == nil) == (err == nil) {
			t.Fatalf("message %+v and error %v", m, err)
		}
	})
}

func TestReadPosition(t *testing.T) {
	for _, reply := range []string{
		"$JS.ACK.WA_SEND.shard-1.2.42.7.1795430000000000000.3",
		"$JS.ACK.edge.ACCHASH.WA_SEND.shard-1.2.42.7.1795430000000000000.3",
		"$JS.ACK.edge.ACCHASH.WA_SEND.shard-1.2.42.7.1795430000000000000.3.random",
	} {
		at, err := readPosition(reply)
		if err != nil || at.delivered != 2 || at.stream != 42 || at.consumer != 7 || at.stored.UnixNano() != 1795430000000000000 || at.pending != 3 {
			t.Errorf("readPosition(%s) = %+v, %v", reply, at, err)
		}
	}
	if _, err := readPosition("_INBOX.x"); err == nil {
		t.Error("a reply subject of something else was read")
	}
}
