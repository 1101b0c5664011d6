package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// collector reads everything that the bridge stores, from the first message on
// and without a gap.
type collector struct {
	ledger *ledger
	nc     *nats.Conn
	js     jetstream.JetStream
	stops  []jetstream.ConsumeContext

	mu      sync.Mutex
	last    map[string]uint64 // stream → the last sequence read
	highest []map[int]int     // session → conversation → last message
	faults  []string          // what should not be there
	poison  int               // dead letters of what the platform sent
	events  int
}

func newCollector(ctx context.Context, w *world) (*collector, error) {
	nc, js, err := w.connect("chaos collector")
	if err != nil {
		return nil, err
	}
	c := &collector{ledger: newLedger(w.o), nc: nc, js: js, last: map[string]uint64{}}
	for range w.o.sessions {
		c.highest = append(c.highest, map[int]int{})
	}
	for stream, take := range map[string]func(jetstream.Msg, *jetstream.MsgMetadata){"WA_RECV": c.take, "WA_DEAD": c.takeDead} {
		if err := c.follow(ctx, stream, take); err != nil {
			nc.Close()
			return nil, err
		}
	}
	return c, nil
}

func (c *collector) follow(ctx context.Context, stream string, take func(jetstream.Msg, *jetstream.MsgMetadata)) error {
	var consumer jetstream.Consumer
	var last error
	err := until(ctx, time.Minute, "the bridge has made its streams", func(ctx context.Context) bool {
		consumer, last = c.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w (%w)", stream, err, last)
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			c.fault("a message of %s without a position: %v", stream, err)
			return
		}
		c.mu.Lock()
		want := c.last[stream] + 1
		c.last[stream] = meta.Sequence.Stream
		c.mu.Unlock()
		if meta.Sequence.Stream != want {
			c.fault("%s: read %d after %d", stream, meta.Sequence.Stream, want-1)
		}
		take(m, meta)
	}, jetstream.PullExpiry(2*time.Second), jetstream.PullHeartbeat(500*time.Millisecond)) // to notice soon what a fault took away
	if err != nil {
		return fmt.Errorf("reading %s: %w", stream, err)
	}
	c.stops = append(c.stops, consuming)
	return nil
}

func (c *collector) stop() {
	for _, s := range c.stops {
		s.Stop()
		<-s.Closed()
	}
	c.nc.Close()
}

func (c *collector) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// statusBody is what we read of a message on wa.status.
type statusBody struct {
	Ref, ID, Status string
	Attempts        int
	Error           *struct {
		Class string
		Code  int
	}
}

// take reads a message of WA_RECV.
func (c *collector) take(m jetstream.Msg, meta *jetstream.MsgMetadata) {
	kind, id, _ := strings.Cut(strings.TrimPrefix(m.Subject(), "wa."), ".")
	s, err := strconv.Atoi(strings.TrimPrefix(id, "s"))
	if err != nil || s < 0 || s >= c.ledger.sessions {
		if kind != "event" {
			c.fault("a message on %s, which is no session of ours", m.Subject())
		}
		return
	}
	switch kind {
	case "status":
		var body statusBody
		if err := json.Unmarshal(m.Data(), &body); err != nil {
			c.fault("a status that is not JSON, at %d: %v", meta.Sequence.Stream, err)
			return
		}
		i, ok := c.ledger.index(body.Ref)
		if !ok || c.ledger.session(i) != s {
			c.fault("a status of ref %q on %s, which is no command of ours", body.Ref, m.Subject())
			return
		}
		c.ledger.report(i, &body, meta.Timestamp, meta.Sequence.Stream)
	case "recv":
		i, ok := textIndex(m.Data(), len(c.ledger.users[s]))
		if !ok {
			c.fault("an unknown message on %s, at %d: %s", m.Subject(), meta.Sequence.Stream, m.Data())
			return
		}
		c.ledger.receive(s, i, meta.Timestamp, c.highest[s])
	case "event":
		c.mu.Lock()
		c.events++
		c.mu.Unlock()
	}
}

// textIndex reads the index out of a user's text: "u:<i>:<n> padding".
func textIndex(body []byte, limit int) (int, bool) {
	_, rest, ok := bytes.Cut(body, []byte(`"body":"u:`))
	if !ok {
		return 0, false
	}
	digits, _, ok := bytes.Cut(rest, []byte(":"))
	i, err := strconv.Atoi(string(digits))
	return i, ok && err == nil && i >= 0 && i < limit
}

// takeDead reads a dead letter.
func (c *collector) takeDead(m jetstream.Msg, _ *jetstream.MsgMetadata) {
	if !strings.HasPrefix(m.Headers().Get("Wa-Dead-Subject"), "wa.send.") {
		c.mu.Lock()
		c.poison++
		c.mu.Unlock()
		return
	}
	var index int
	sequence, err := strconv.ParseUint(m.Headers().Get("Wa-Dead-Sequence"), 10, 64)
	_, scanned := fmt.Sscanf(m.Headers().Get("traceparent"), "00-c4a05c4a05c4a05c%016x", &index)
	if err != nil || scanned != nil || index < 1 || index > len(c.ledger.commands) || !c.ledger.letter(sequence, index-1) {
		c.fault("a dead letter of no command of ours: %v", m.Headers())
	}
}
