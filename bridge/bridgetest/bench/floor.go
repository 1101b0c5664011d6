package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// dialFloor connects as the bridge does and reads the first frame.
func dialFloor(ctx context.Context, addr string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{Subprotocols: []string{"cloudevents.json"}, HandshakeTimeout: 10 * time.Second, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
	conn, resp, err := dialer.DialContext(ctx, "ws://"+addr+"/ws", http.Header{"Authorization": {"Bearer bench"}})
	if err != nil {
		return nil, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	_, _, err = conn.ReadMessage()
	return conn, err
}

// floorInbound: read, publish asynchronously with the same headers, ack what
// JetStream has. Errors are errors: the process ends.
func floorInbound(ctx context.Context, natsURL, addr string) error {
	js, err := floorJetStream(natsURL)
	if err != nil {
		return err
	}
	conn, err := dialFloor(ctx, addr)
	if err != nil {
		return err
	}
	type flight struct {
		sequence uint64
		future   jetstream.PubAckFuture
	}
	flights := make(chan flight, 4096)
	failed := make(chan error, 1)
	go func() {
		for f := range flights {
			select {
			case <-f.future.Ok():
			case err := <-f.future.Err():
				failed <- err
				return
			}
			if len(flights) > 0 && f.sequence%64 != 0 {
				continue
			}
			ack := fmt.Appendf(nil, `{"specversion":"1.0","id":"k","source":"/floor","type":"whatsapp.ack","data":{"sequence":"%020d"}}`, f.sequence)
			if err := conn.WriteMessage(websocket.TextMessage, ack); err != nil {
				failed <- err
				return
			}
		}
	}()
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		i := bytes.Index(frame, []byte(`"data":`))
		if i < 0 {
			continue
		}
		sequence, err := strconv.ParseUint(string(member(frame, `"sequence":"`)), 10, 64)
		if err != nil {
			return err
		}
		id := string(member(frame, `"id":"`))
		m := &nats.Msg{Subject: "wa.recv." + session, Data: frame[i+7 : len(frame)-1], Header: nats.Header{
			"Nats-Msg-Id": {session + ":" + id}, "ce-id": {id}, "ce-source": {"/wabridge/" + session}, "ce-type": {"whatsapp.message.text"},
			"ce-subject": {string(member(frame, `"from":"`))}, "ce-time": {"2026-11-28T00:00:00Z"}, "ce-specversion": {"1.0"},
			"ce-datacontenttype": {"application/json"}, "traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"},
			"Wa-Epoch": {"e"}, "Wa-Sequence": {strconv.FormatUint(sequence, 10)},
		}}
		future, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute))
		if err != nil {
			return err
		}
		select {
		case flights <- flight{sequence, future}:
		case err := <-failed:
			return err
		}
	}
}

// floorOutbound: consume, write, read the answer, ack.
func floorOutbound(ctx context.Context, natsURL, addr string) error {
	js, err := floorJetStream(natsURL)
	if err != nil {
		return err
	}
	conn, err := dialFloor(ctx, addr)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	waiting := make(map[string]jetstream.Msg)
	slots := make(chan struct{}, window)
	consumer, err := js.CreateOrUpdateConsumer(ctx, "WA_SEND", jetstream.ConsumerConfig{
		Durable: "floor", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000, FilterSubject: "wa.outbox.*." + session,
	})
	if err != nil {
		return err
	}
	frame := make([]byte, 0, 1024)
	failed := make(chan error, 1)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		slots <- struct{}{}
		ref := m.Headers().Get("Nats-Msg-Id")
		mu.Lock()
		waiting[ref] = m
		mu.Unlock()
		frame = append(frame[:0], `{"specversion":"1.0","type":"whatsapp.send","source":"/floor","id":"`...)
		frame = append(frame, ref...)
		frame = append(frame, `","data":`...)
		frame = append(frame, m.Data()...)
		frame = append(frame, '}')
		if err := conn.WriteMessage(websocket.TextMessage, frame); err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}, jetstream.PullMaxMessages(512))
	if err != nil {
		return err
	}
	defer consuming.Stop()
	for {
		_, answer, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		ref := string(member(answer, `"ref":"`))
		mu.Lock()
		m := waiting[ref]
		delete(waiting, ref)
		mu.Unlock()
		if m == nil {
			return errors.New("an answer to nothing")
		}
		<-slots
		if err := m.Ack(); err != nil {
			return err
		}
		select {
		case err := <-failed:
			return err
		default:
		}
	}
}

func floorJetStream(natsURL string) (jetstream.JetStream, error) {
	nc, err := nats.Connect(natsURL, nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096), jetstream.WithPublishAsyncTimeout(30*time.Second))
}

// runFloor is what a floor process does until it fails or is killed.
func runFloor(ctx context.Context, role, natsURL, addr string) error {
	switch role {
	case "floor-in":
		return floorInbound(ctx, natsURL, addr)
	case "floor-webhooks":
		return floorWebhooks(ctx, natsURL, addr)
	default:
		return floorOutbound(ctx, natsURL, addr)
	}
}
