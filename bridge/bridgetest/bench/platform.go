package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	session       = "bench"
	conversations = 1000
	// window is how many sends may be unanswered.
	window = 1024
	// unacked bounds the events that are not acked yet.
	unacked = 8192
)

// platform is the least of a Chat API platform that keeps up with anything: one
// session, events of one shape, every send accepted. It keeps nothing.
type platform struct {
	addr   string
	server *http.Server

	joined   chan *websocket.Conn
	acked    atomic.Uint64
	accepted atomic.Uint64
	// answered hears the ref of each send, in order; nil hears nothing.
	answered func(ref []byte)
}

func newPlatform(ctx context.Context) (*platform, error) {
	p := &platform{joined: make(chan *websocket.Conn, 4)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"bench","token_type":"Bearer","expires_in":86400}`)
	})
	up := websocket.Upgrader{
		Subprotocols: []string{"cloudevents.json"}, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10,
		CheckOrigin: func(*http.Request) bool { return true },
	}
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		p.serve(conn)
	})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.addr = l.Addr().String()
	p.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(l) }() // ends with close
	return p, nil
}

func (p *platform) close() error { return p.server.Close() }

// serve reads acks and sends of one connection and answers the sends, many in
// one write.
func (p *platform) serve(conn *websocket.Conn) {
	ready := `{"specversion":"1.0","id":"r","source":"/bench","type":"whatsapp.session.ready","data":{"session":"` + session +
		`","epoch":"e` + strconv.FormatInt(time.Now().UnixNano(), 10) + `","scopes":["whatsapp_business_messaging","whatsapp_business_management"],"window":` +
		strconv.Itoa(window) + `,"phone_number_id":"880090070060050","display_phone_number":"15550199001"}}`
	if conn.WriteMessage(websocket.TextMessage, []byte(ready)) != nil {
		return
	}
	p.acked.Store(0)
	p.joined <- conn
	answer := make([]byte, 0, 512)
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return
		}
		switch {
		case bytes.Contains(frame[:min(len(frame), 300)], []byte(`"whatsapp.ack"`)):
			if i := bytes.Index(frame, []byte(`"data":{"sequence":"`)); i >= 0 {
				n, err := strconv.ParseUint(string(frame[i+20:i+40]), 10, 64)
				if err == nil {
					p.acked.Store(n)
				}
			}
		case bytes.Contains(frame[:min(len(frame), 300)], []byte(`"whatsapp.send"`)):
			ref := member(frame, `"id":"`)
			answer = append(answer[:0], `{"specversion":"1.0","id":"a","source":"/bench","type":"whatsapp.result","data":{"ref":"`...)
			answer = append(answer, ref...)
			answer = append(answer, `","messages":[{"id":"wamid.`...)
			answer = append(answer, ref...)
			answer = append(answer, `"}],"duplicate":false}}`...)
			if conn.WriteMessage(websocket.TextMessage, answer) != nil {
				return
			}
			p.accepted.Add(1)
			if p.answered != nil {
				p.answered(ref)
			}
		}
	}
}

// member is the text after a key, up to the next quote.
func member(frame []byte, key string) []byte {
	i := bytes.Index(frame, []byte(key))
	if i < 0 {
		return nil
	}
	rest := frame[i+len(key):]
	return rest[:max(0, bytes.IndexByte(rest, '"'))]
}

// events writes numbered messages of about 512 bytes, n of them or until ctx
// ends, at most rate a second (0: as fast as they are acked). It returns how
// many it wrote.
func (p *platform) events(ctx context.Context, conn *websocket.Conn, run string, n uint64, rate float64) (uint64, error) {
	pad := bytes.Repeat([]byte("x"), 180)
	frame := make([]byte, 0, 1024)
	start := time.Now()
	for i := uint64(1); i <= n; i++ {
		for i > p.acked.Load()+unacked {
			if !nap(ctx) {
				return i - 1, nil
			}
		}
		if rate > 0 {
			for due := start.Add(time.Duration(float64(i) / rate * float64(time.Second))); time.Now().Before(due); {
				if !nap(ctx) {
					return i - 1, nil
				}
			}
		}
		if over := ctx.Err() != nil; over && i%256 == 0 {
			return i - 1, nil
		}
		peer := 15550000000 + i%conversations
		id := run + strconv.FormatUint(i, 10)
		frame = append(frame[:0], `{"specversion":"1.0","id":"`...)
		frame = append(frame, id...)
		frame = append(frame, `","source":"/bench","type":"whatsapp.message.text","time":"2026-11-28T00:00:00Z","sequence":"`...)
		frame = fmt.Appendf(frame, "%020d", i)
		frame = append(frame, `","data":{"message":{"from":"`...)
		frame = strconv.AppendUint(frame, peer, 10)
		frame = append(frame, `","id":"wamid.`...)
		frame = append(frame, id...)
		frame = append(frame, `","timestamp":"1795430000","type":"text","text":{"body":"`...)
		frame = strconv.AppendInt(frame, time.Now().UnixNano(), 10)
		frame = append(frame, ' ')
		frame = append(frame, pad...)
		frame = append(frame, `"}},"contact":{"profile":{"name":"Marta"},"wa_id":"`...)
		frame = strconv.AppendUint(frame, peer, 10)
		frame = append(frame, `"},"metadata":{"display_phone_number":"15550199001","phone_number_id":"880090070060050"}}}`...)
		if err := conn.WriteMessage(websocket.TextMessage, frame); err != nil {
			return i - 1, err
		}
	}
	return n, nil
}

// nap waits a moment, and reports whether ctx still lives.
func nap(ctx context.Context) bool {
	timer := time.NewTimer(200 * time.Microsecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// join waits for a connection.
func (p *platform) join(ctx context.Context) (*websocket.Conn, error) {
	select {
	case conn := <-p.joined:
		return conn, nil
	case <-time.After(30 * time.Second):
		return nil, errors.New("nobody connected within 30 s")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
