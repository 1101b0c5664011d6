package simulator_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wabridge/bridge/simulator"
)

func benchLink(b *testing.B, cfg simulator.SessionConfig) (*simulator.Simulator, *websocket.Conn) {
	b.Helper()
	cfg.ID = "demo"
	sim, err := simulator.New(simulator.Config{Sessions: []simulator.SessionConfig{cfg}, Clients: []simulator.Client{{ID: "b"}}})
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(sim.Handler())
	token, _, err := sim.IssueToken("b")
	if err != nil {
		b.Fatal(err)
	}
	d := websocket.Dialer{Subprotocols: []string{"cloudevents.json"}, ReadBufferSize: 64 << 10}
	ws, resp, err := d.DialContext(b.Context(), "ws"+strings.TrimPrefix(srv.URL, "http")+"/v1/sessions/demo/ws", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close() // nothing is read from it
	b.Cleanup(func() {
		_ = ws.Close() // the simulator may have closed it
		if err := sim.Close(); err != nil {
			b.Error(err)
		}
		srv.Close()
	})
	return sim, ws
}

// BenchmarkSend: a send of 512 bytes, answered, and its three statuses.
func BenchmarkSend(b *testing.B) {
	for _, quiet := range []bool{false, true} {
		b.Run(fmt.Sprintf("statuses=%v", !quiet), func(b *testing.B) {
			_, ws := benchLink(b, simulator.SessionConfig{NoStatuses: quiet, Window: 512})
			room := make(chan struct{}, 500)
			go func() {
				for {
					_, f, err := ws.ReadMessage()
					if err != nil {
						return // the benchmark is over
					}
					if bytes.Contains(f[:min(len(f), 120)], []byte("whatsapp.result")) {
						<-room
					}
				}
			}()
			pad := strings.Repeat("x", 200)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				room <- struct{}{}
				f := fmt.Appendf(nil, `{"specversion":"1.0","id":"order-%d","source":"/wabridge/demo","type":"whatsapp.send","datacontenttype":"application/json","data":{"messaging_product":"whatsapp","to":"+1555%07d","type":"text","text":{"body":%q}}}`, i, i%1000, pad)
				if err := ws.WriteMessage(websocket.TextMessage, f); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(room) {
				room <- struct{}{} // everything is answered
			}
		})
	}
}

// BenchmarkEvent: a message of 512 bytes from a user, acknowledged by the hundred.
func BenchmarkEvent(b *testing.B) {
	sim, ws := benchLink(b, simulator.SessionConfig{})
	go func() {
		if _, err := sim.Inject(b.Context(), simulator.Load{Session: "demo", Name: "b", Count: 1 << 40, Conversations: 1000, Size: 512}); err == nil {
			b.Error("the load ended")
		}
	}()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, _, err := ws.ReadMessage(); err != nil {
			b.Fatal(err)
		}
		if n++; n%100 == 0 {
			ack := fmt.Appendf(nil, `{"specversion":"1.0","id":"a","source":"/w","type":"whatsapp.ack","data":{"sequence":"%020d"}}`, n-1)
			if err := ws.WriteMessage(websocket.TextMessage, ack); err != nil {
				b.Fatal(err)
			}
		}
	}
}
