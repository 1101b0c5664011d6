package broker

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

// BenchmarkStoreOnCopies stores on a stream with three copies, each of which
// flushes to the disk before it answers.
func BenchmarkStoreOnCopies(b *testing.B) {
	c := bridgetest.Cluster(b, 3, bridgetest.SyncAlways())
	broker := open(b, c)
	body := make([]byte, 512)
	round := 0
	for _, sessions := range []int{1, 4, 100} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			round++
			b.ReportAllocs()
			var wg sync.WaitGroup
			for s := range sessions {
				session := fmt.Sprintf("s%d", s)
				store := broker.NewStore(session)
				wg.Go(func() {
					for i := s; i < b.N; i += sessions {
						header := benchHeader(i)
						header["Nats-Msg-Id"] = []string{session + ":" + strconv.Itoa(round) + ":" + strconv.Itoa(i)}
						r := &bridge.Record{Subject: "wa.recv." + session, Header: header, Body: body}
						if err := store.Put(b.Context(), r); err != nil {
							b.Error(err)
							return
						}
					}
					if err := store.Close(b.Context()); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
