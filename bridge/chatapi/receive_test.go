package chatapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/bridge"
	"wabridge/codec"
)

func TestEventsAreHandedOnAndAcked(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	// Odd spacing and escapes pass to the byte.
	data := `{ "message" : {"text":"<\/ \u00e9 9007199254740993"}}`
	c.write(messageFrame(1, "whatsapp.message.text", data))
	c.write(messageFrame(2, "whatsapp.status.sent", `{"id":"x"}`))
	c.write(messageFrame(3, "whatsapp.event.account_update", `{"field":"f","value":{}}`))
	c.acked(3)
	if got := s.host.got(); got != "1:1 2:2 3:3" {
		t.Errorf("took %s", got)
	}
	in := s.host.at(0)
	if string(in.Data) != data || in.ID != "m1" || in.Epoch != "e1" || in.Time.Unix() != 1795435200 {
		t.Errorf("took %s %+v", in.Data, in)
	}
}

func TestAckFollowsStoring(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	s.host.set(func(h *host) { h.hold = true })
	c := p.ready(t)
	c.message(1)
	c.message(2)
	eventually(t, "two taken", func() bool { return s.host.got() == "1:1 1:2" })
	results := s.send("order")
	if e := receive(t, c.frames, "the send"); e.Type != typeSend {
		t.Fatalf("wrote %s before anything was stored", e.Type)
	}
	c.accepted("order")
	receive(t, results, "a result")
	s.host.store()
	c.acked(2)
}

func TestAcksAreCumulative(t *testing.T) {
	const n = 5000
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	for i := range n {
		c.message(i + 1)
	}
	eventually(t, "all taken", func() bool { return s.numbersTaken() == n })
	acks, last := 0, ""
	for want := fmt.Sprintf(`{"sequence":"%020d"}`, n); last != want; acks++ {
		e := receive(t, c.frames, "an ack")
		if e.Type != typeAck || string(e.Data) <= last {
			t.Fatalf("wrote %s %s after %s", e.Type, e.Data, last)
		}
		last = string(e.Data)
	}
	if acks > n/4 {
		t.Errorf("%d acks for %d events", acks, n)
	}
}

// numbersTaken is how many events the host took.
func (r *running) numbersTaken() int {
	r.host.mu.Lock()
	defer r.host.mu.Unlock()
	return len(r.host.inbound)
}

func TestResumeSkipsWhatIsStored(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	s.host.set(func(h *host) { h.positions = map[string]uint64{"e1": 7, "e2": 0} })
	c := p.ready(t)
	for i := 5; i <= 7; i++ {
		c.message(i)
	}
	c.acked(7)
	c.message(8)
	c.message(9)
	c.acked(9)
	if got := s.host.got(); got != "1:8 1:9" {
		t.Errorf("took %s", got)
	}
	// Taken and not stored yet: the platform sends it again, the host has it.
	s.host.set(func(h *host) { h.hold = true })
	c.message(10)
	eventually(t, "taken", func() bool { return strings.HasSuffix(s.host.got(), "1:10") })
	c.cut()
	c = p.ready(t)
	c.message(9) // its ack may have been lost
	c.acked(9)
	c.message(10)
	c.message(11)
	eventually(t, "taken", func() bool { return strings.HasSuffix(s.host.got(), "1:11") })
	s.host.store()
	c.acked(11)
	if got := s.host.got(); got != "1:8 1:9 1:10 1:11" {
		t.Errorf("took %s", got)
	}
	// Another epoch numbers anew.
	s.host.set(func(h *host) { h.hold = false })
	c.cut()
	c = p.ready(t, strings.ReplaceAll(readyData, "e1", "e2"))
	c.message(1)
	c.acked(1)
	if in := s.host.at(4); in.Epoch != "e2" || in.Sequence != 1 {
		t.Errorf("took %s:%d", in.Epoch, in.Sequence)
	}
}

func TestDuplicatesAndReorderedAreSkipped(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	for _, i := range []int{1, 2, 2, 1, 3, 2, 4} {
		c.message(i)
	}
	c.acked(4)
	if got := s.host.got(); got != "1:1 1:2 1:3 1:4" {
		t.Errorf("took %s", got)
	}
}

func TestGapHasThePlatformSendAgain(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	c.message(1)
	c.message(4)
	c.ended()
	c = p.ready(t)
	for i := 2; i <= 4; i++ {
		c.message(i)
	}
	c.acked(4)
	if got := s.host.got(); got != "1:1 1:2 1:3 1:4" {
		t.Errorf("took %s", got)
	}
	// A gap that stays is passed, after one more try. What was missing and comes
	// after all is taken: once passed over, it would be lost.
	c.message(7)
	c.ended()
	c = p.ready(t)
	c.message(7)
	c.message(6)
	c.message(3)
	c.message(8)
	c.acked(8)
	if n := p.count(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	if got := s.host.got(); !strings.HasSuffix(got, "1:4 1:7 1:6 1:8") {
		t.Errorf("took %s", got)
	}
}

func TestPoison(t *testing.T) {
	bad := map[string]string{
		"not JSON":        "hello",
		"empty":           "",
		"cut off":         `{"specversion":"1.0","id":"m2"`,
		"no CloudEvent":   `{"message":{}}`,
		"unknown type":    `{"specversion":"1.0","id":"m2","source":"/p","type":"whatsapp.surprise","sequence":"2","data":{}}`,
		"no sequence":     `{"specversion":"1.0","id":"m2","source":"/p","type":"whatsapp.message.text","data":{}}`,
		"wrong sequence":  `{"specversion":"1.0","id":"m2","source":"/p","type":"whatsapp.message.text","sequence":"two","data":{}}`,
		"data no object":  messageFrame(2, "whatsapp.message.text", `"text"`),
		"unusable result": `{"specversion":"1.0","id":"m2","source":"/p","type":"whatsapp.result","data":{"messages":[]}}`,
		"unusable ready":  `{"specversion":"1.0","id":"m2","source":"/p","type":"whatsapp.session.ready","data":{"scopes":5}}`,
	}
	for name, frame := range bad {
		t.Run(name, func(t *testing.T) {
			p := newPlatform(t)
			s := start(t, p)
			c := p.ready(t)
			c.message(1)
			c.write(frame)
			next := 2
			if strings.Contains(frame, `"sequence":"2"`) || strings.Contains(frame, fmt.Sprintf("%020d", 2)) {
				next = 3
			}
			c.message(next)
			c.acked(next)
			in := s.host.at(1)
			if in.Kind != bridge.KindPoison || string(in.Data) != frame || in.Reason == "" || in.Epoch != "e1" {
				t.Errorf("took %+v", in)
			}
			if n := p.count(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestPoisonWithAHiddenSequence has a frame that cannot be read leave a gap: the
// platform sends it again, and then the gap is passed.
func TestPoisonWithAHiddenSequence(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	c.message(1)
	c.write("the second event")
	c.message(3)
	c.ended()
	c = p.ready(t)
	c.write("the second event")
	c.message(3)
	c.acked(3)
	if got := s.host.got(); got != "1:1 4:0 4:0 1:3" {
		t.Errorf("took %s", got)
	}
}

func TestBinaryFrameIsPoison(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	c.message(1)
	frame := messageFrame(2, "whatsapp.message.text", `{}`)
	if err := c.conn.WriteMessage(websocket.BinaryMessage, []byte(frame)); err != nil {
		t.Fatal(err)
	}
	c.acked(2) // its sequence could be read
	if in := s.host.at(1); in.Kind != bridge.KindPoison || string(in.Data) != frame || in.Sequence != 2 {
		t.Errorf("took %+v", in)
	}
}

func TestFrameSizes(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	fits := func(sequence, size int) string {
		frame := messageFrame(sequence, "whatsapp.message.text", `{"x":""}`)
		return strings.Replace(frame, `""`, `"`+strings.Repeat("x", size-len(frame))+`"`, 1)
	}
	c.write(fits(1, codec.MaxFrame))
	c.write(fits(2, codec.MaxFrame+1))
	c.message(3)
	c.acked(3)
	if got := s.host.got(); got != "1:1 4:2 1:3" {
		t.Fatalf("took %s", got)
	}
	large := fits(2, codec.MaxFrame+1)
	sum := sha256.Sum256([]byte(large))
	in := s.host.at(1)
	if string(in.Data) != large[:prefixKept] || in.Size != codec.MaxFrame+1 || in.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("kept %d bytes of %d, sum %s", len(in.Data), in.Size, in.SHA256)
	}
}

// TestHugeFrameIsNotBuffered has a frame of 64 MiB pass, with the heap as small
// as before.
func TestHugeFrameIsNotBuffered(t *testing.T) {
	const size = 64 << 20
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w, err := c.conn.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	chunk := []byte(strings.Repeat("x", 1<<20))
	peak := uint64(0)
	for range size >> 20 {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		peak = max(peak, after.HeapAlloc)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		c.message(i + 1)
	}
	c.acked(1000)
	if grown := int64(peak) - int64(before.HeapAlloc); grown > 20<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if in := s.host.at(0); in.Kind != bridge.KindPoison || in.Size != size {
		t.Errorf("took %d bytes of kind %d", in.Size, in.Kind)
	}
}

// TestWaitForTheHostIsNoDeadPeer has the host take an event only after the read
// deadline and the answer time-out have passed.
func TestWaitForTheHostIsNoDeadPeer(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) {
		c.Ping, c.ReadIdle, c.AnswerTimeout = 100*time.Millisecond, 500*time.Millisecond, 1500*time.Millisecond
	})
	block := make(chan struct{})
	s.host.set(func(h *host) { h.block = block })
	c := p.ready(t)
	c.message(1)
	eventually(t, "the host is asked", func() bool { s.host.mu.Lock(); defer s.host.mu.Unlock(); return s.host.waiting == 1 })
	results := s.send("order")
	c.read(typeSend)
	c.accepted("order") // lies behind the event
	for range 25 {
		receive(t, c.pings, "a ping")
	}
	close(block)
	if result := receive(t, results, "a result"); result.Class != codec.Accepted {
		t.Errorf("result %+v", result)
	}
	c.acked(1)
	if n := p.count(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestHostThatTakesNothing(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	s.host.set(func(h *host) { h.closed = true })
	c := p.ready(t)
	c.message(1)
	c.ended()
	s.host.set(func(h *host) { h.closed = false })
	eventually(t, "taken", func() bool {
		select {
		case c := <-p.peers:
			c.greet()
			c.message(1)
		default:
		}
		return s.host.got() == "1:1"
	})
}

func TestNewEpochOnALiveConnection(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	c.greet(strings.ReplaceAll(readyData, "e1", "e2"))
	if code := c.ended(); code != websocket.CloseProtocolError {
		t.Errorf("closed with %d", code)
	}
	p.ready(t, strings.ReplaceAll(readyData, "e1", "e2")).message(1)
	eventually(t, "taken", func() bool { return s.host.got() == "1:1" })
}
