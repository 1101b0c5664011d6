package inbound_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// FuzzReceive gives a session anything at all: it stores exactly one record, the
// bytes as they came, with headers that NATS can carry.
func FuzzReceive(f *testing.F) {
	for _, data := range []string{
		message, statusOf, string(ours(f, "order-1", "x")), `{"field":"flows","value":[1, 2]}`, "junk", "",
		`{"message":{"id":"a\r\nb","type":"é ","from":"1","timestamp":99999999999999}}`,
	} {
		for kind := range uint8(6) {
			f.Add(kind, []byte(data), "e1", uint64(kind), "not JSON", "", parent, "a=b", int64(1795430000))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte, epoch string, sequence uint64, reason, sum, traceParent, traceState string, at int64) {
		in := bridge.Inbound{
			Kind: bridge.Kind(kind), Data: data, Epoch: epoch, Sequence: sequence, Reason: reason, SHA256: sum,
			TraceParent: traceParent, TraceState: traceState, Time: time.Unix(at%1e10, 0),
		}
		again := in
		again.Data = bytes.Clone(data)
		r := one(t, &in)
		kinds := map[string]bool{"wa.recv.shop": true, "wa.status.shop": true, "wa.event.shop": true, "wa.dead.shop": true}
		if !kinds[r.Subject] {
			t.Fatalf("got subject %q", r.Subject)
		}
		if r.Subject == "wa.status.shop" {
			if _, err := codec.ParseReport(r.Body); err != nil {
				t.Fatalf("the report cannot be read: %v", err)
			}
		} else if len(data) < 16<<10 && !bytes.Equal(r.Body, again.Data) {
			t.Fatal("the body is not as it came")
		}
		size := 0
		for name, values := range r.Header {
			if len(values) != 1 {
				t.Fatalf("header %s has %d values", name, len(values))
			}
			for _, c := range []byte(values[0]) {
				if c < ' ' || c > '~' {
					t.Fatalf("header %s holds byte %#x", name, c)
				}
			}
			if strings.TrimSpace(values[0]) != values[0] {
				t.Fatalf("header %s is padded: %q", name, values[0])
			}
			size += len(name) + len(values[0]) + 4
		}
		if size > 16<<10 {
			t.Fatalf("the headers take %d bytes", size)
		}
		if id := one(t, &again).Header["Nats-Msg-Id"]; id[0] != r.Header["Nats-Msg-Id"][0] {
			t.Fatalf("the same thing has ids %q and %q", r.Header["Nats-Msg-Id"], id)
		}
	})
}
