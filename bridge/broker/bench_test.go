package broker

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// The two benchmarks store the same records: one by a Store, one by the
// client's own asynchronous publishing, which keeps no order through a failure.

func BenchmarkStore(b *testing.B) {
	s := bridgetest.NATS(b)
	broker := open(b, s)
	store := broker.NewStore("shop")
	body := make([]byte, 512)
	b.ReportAllocs()
	for i := range b.N {
		err := store.Put(b.Context(), &bridge.Record{Subject: "wa.recv.shop", Header: benchHeader(i), Body: body})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := store.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkPublishMsgAsync(b *testing.B) {
	s := bridgetest.NATS(b)
	open(b, s)
	js, err := jetstream.New(s.Conn(b), jetstream.WithPublishAsyncMaxPending(DefaultMaxRecords))
	if err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 512)
	b.ReportAllocs()
	for i := range b.N {
		_, err := js.PublishMsgAsync(&nats.Msg{Subject: "wa.recv.shop", Header: benchHeader(i), Data: body},
			jetstream.WithRetryAttempts(0), jetstream.WithStallWait(long))
		if err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

func benchHeader(i int) nats.Header {
	return nats.Header{
		"Nats-Msg-Id": {"shop:wamid." + strconv.Itoa(i)},
		"ce-id":       {strconv.Itoa(i)},
		"ce-type":     {"whatsapp.message.text"},
		"ce-source":   {"/wabridge/shop"},
		"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
}
