package chatapi

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/bridge"
)

// eachWay runs a test with a poller, and with a goroutine for each link.
func eachWay(t *testing.T, f func(t *testing.T, way func(c *Config))) {
	// No pong comes that would have what was overlooked read after all.
	calm := func(c *Config) { c.Ping, c.ReadIdle = time.Hour, 2*time.Hour }
	t.Run("poller", func(t *testing.T) { f(t, calm) })
	t.Run("goroutine", func(t *testing.T) {
		f(t, func(c *Config) {
			calm(c)
			if err := c.Env.prepare(); err != nil {
				t.Fatal(err)
			}
			c.poller = nil
		})
	})
}

// rawFrame is a frame as a platform writes it.
func rawFrame(first byte, payload string) []byte {
	frame := []byte{first, byte(len(payload))}
	switch {
	case len(payload) >= 1<<16:
		frame[1] = size64
		frame = binary.BigEndian.AppendUint64(frame, uint64(len(payload)))
	case len(payload) >= size16:
		frame[1] = size16
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	}
	return append(frame, payload...)
}

const (
	wholeText = finalBit | websocket.TextMessage
	firstText = websocket.TextMessage
	goingOn   = 0
	last      = finalBit
	pinging   = finalBit | websocket.PingMessage
	ponging   = finalBit | websocket.PongMessage
)

// eventFrame is an event of so many bytes at least.
func eventFrame(sequence, size int) string {
	return messageFrame(sequence, "whatsapp.message.text", `{"x":"`+strings.Repeat("x", size)+`"}`)
}

// raw writes bytes below the platform's own WebSocket.
func (c *peer) raw(p []byte) {
	c.t.Helper()
	if _, err := c.conn.NetConn().Write(p); err != nil {
		c.t.Errorf("platform writing: %v", err)
	}
}

// expect waits until n events came, and checks that they are 1 to n.
func (r *running) expect(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d events", n), func() bool { return r.numbersTaken() >= n })
	for i := range n {
		if in := r.host.at(i); in.Sequence != uint64(i+1) || in.Kind != bridge.KindMessage {
			t.Fatalf("event %d is %d of kind %d: %s", i+1, in.Sequence, in.Kind, in.Reason)
		}
	}
}

// Messages, in one frame and in three, with pings and pongs between and within
// them, arrive in two parts that end at any byte.
func TestFramesSplitAnywhere(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		p := newPlatform(t)
		s := start(t, p, way)
		c := p.ready(t)
		s.connected(t)
		n, length := 0, 1
		for at := 0; at < length; at++ {
			one, two := messageFrame(n+1, "whatsapp.message.text", `{}`), messageFrame(n+2, "whatsapp.message.text", `{}`)
			var all []byte
			for _, frame := range [][]byte{
				rawFrame(pinging, "between"), rawFrame(wholeText, one), rawFrame(ponging, ""),
				rawFrame(firstText, two[:9]), rawFrame(pinging, "within"), rawFrame(goingOn, ""), rawFrame(goingOn, two[9:20]),
				rawFrame(ponging, "not asked for"), rawFrame(last, two[20:]), rawFrame(pinging, ""),
			} {
				all = append(all, frame...)
			}
			n, length = n+2, len(all)
			c.raw(all[:at])
			pause(t, 500*time.Microsecond)
			c.raw(all[at:])
			for _, want := range []string{"between", "within", ""} {
				if got := receive(t, c.pongs, "a pong"); got != want {
					t.Fatalf("split at %d: pong %q, want %q", at, got, want)
				}
			}
		}
		s.expect(t, n)
		c.acked(n)
	})
}

func TestManyFramesAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		p := newPlatform(t)
		s := start(t, p, way)
		c := p.accept(t)
		all := rawFrame(wholeText, readyFrame(readyData)) // and what comes right behind it
		n := 0
		for _, size := range []int{1, 100, 200, 16 << 10, 70_000, 3, ahead, 2 * ahead, 500_000} {
			for range 20 {
				n++
				all = append(all, rawFrame(wholeText, eventFrame(n, size))...)
				all = append(all, rawFrame(ponging, "")...)
			}
		}
		c.raw(all)
		s.expect(t, n)
		c.acked(n)
		c.message(n + 1)
		s.expect(t, n+1)
	})
}

// What came with the end of the connection is read before that.
func TestTheEndComesLast(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		p := newPlatform(t)
		s := start(t, p, way)
		c := p.ready(t)
		s.connected(t)
		c.raw(append(rawFrame(wholeText, eventFrame(1, 1)),
			rawFrame(finalBit|websocket.CloseMessage, string(websocket.FormatCloseMessage(int(ClosePermission), "")))...))
		s.in(t, bridge.Forbidden)
		s.expect(t, 1)
		s.Resume()
		c = p.ready(t)
		s.connected(t)
		c.raw(append(rawFrame(wholeText, eventFrame(2, 1)), rawFrame(wholeText, eventFrame(3, 40_000))...))
		c.cut()
		c = p.ready(t)
		s.expect(t, 3)
		c.raw([]byte{0xf1, 0x05}) // against the protocol
		if code := c.ended(); code != websocket.CloseProtocolError {
			t.Errorf("closed with %d", code)
		}
	})
}

// A connection ends in time while a frame has begun and does not go on, by
// whoever it is ended.
func TestEndsWithinAFrame(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		half := rawFrame(wholeText, eventFrame(1, 1000))[:200]
		for name, begun := range map[string][]byte{"header": half[:1], "size": half[:3], "payload": half, "ping": {pinging}, "in a ping": {pinging, 4, 'x'}} {
			t.Run(name, func(t *testing.T) {
				p := newPlatform(t)
				s := start(t, p, way)
				c := p.ready(t)
				s.connected(t)
				c.raw(begun)
				pause(t, 5*time.Millisecond)
				c.cut()
				c = p.ready(t)
				s.connected(t)
				c.raw(begun)
				pause(t, 5*time.Millisecond)
				s.stop()
				receive(t, s.done, "the end of Run")
			})
		}
		p := newPlatform(t)
		s := start(t, p, way, func(c *Config) { c.Ping, c.ReadIdle = 50*time.Millisecond, 300*time.Millisecond })
		c := p.ready(t)
		s.connected(t)
		c.mute.Store(true)
		c.raw(half)
		s.in(t, bridge.Disconnected)
	})
}

// A platform that says nothing any more is found within ReadIdle, and as much as
// pings differ.
func TestSilenceIsFoundInTime(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		const idle = 600 * time.Millisecond
		p := newPlatform(t)
		s := start(t, p, way, func(c *Config) {
			c.Ping, c.ReadIdle, c.BackoffMin = 500*time.Millisecond, idle, time.Hour
			c.BackoffMax = time.Hour
		})
		c := p.ready(t)
		s.connected(t)
		c.mute.Store(true)
		c.message(1)
		began := time.Now()
		c.acked(1)
		change := s.in(t, bridge.Disconnected)
		if took := change.At.Sub(began); took < idle-50*time.Millisecond || took > idle+time.Second || !strings.Contains(change.Reason, "silent") {
			t.Errorf("found after %v: %s", took, change.Reason)
		}
	})
}

// While the host takes nothing, nothing more is read.
func TestReadsNoFurtherThanTheHost(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		p := newPlatform(t)
		s := start(t, p, way)
		block := make(chan struct{})
		s.host.set(func(h *host) { h.block = block })
		c := p.ready(t)
		const n, size = 200, 100_000 // more than the kernel takes
		written := make(chan struct{})
		go func() {
			defer close(written)
			for i := range n {
				c.raw(rawFrame(wholeText, eventFrame(i+1, size)))
			}
		}()
		select {
		case <-written:
			t.Error("everything was read")
		case <-time.After(300 * time.Millisecond):
		}
		s.host.set(func(h *host) {
			if h.waiting != 1 {
				t.Errorf("the host is asked %d times at once", h.waiting)
			}
		})
		close(block)
		s.expect(t, n)
		<-written
	})
}

// Sessions whose connections end all the time get what is theirs, though the
// descriptors pass from one to the other.
func TestDescriptorsAreUsedAgain(t *testing.T) {
	const sessions, connections = 6, 60
	shared := &Env{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond, CloseTimeout: 100 * time.Millisecond}
	for n := range sessions {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t)
			s := start(t, p, func(c *Config) { c.Env = shared })
			for i := range connections {
				c := p.ready(t)
				c.message(i + 1)
				c.acked(i + 1)
				if i%2 == 0 {
					c.cut()
				} else {
					c.close(int(CloseGoingAway), "")
				}
			}
			s.expect(t, connections)
		})
	}
}

// stop may come at any moment of a connection's beginning.
func TestStopWhileConnecting(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		p := newPlatform(t)
		for i := range 40 {
			s := start(t, p, way)
			go func() {
				select {
				case c := <-p.peers:
					// It may be closed already.
					_ = c.conn.WriteMessage(websocket.TextMessage, []byte(readyFrame(readyData)))
				case <-s.done:
				}
			}()
			pause(t, time.Duration(i)*100*time.Microsecond)
			s.stop()
			s.Session.stop() // a second one does nothing
			receive(t, s.done, "the end of Run")
			if state := s.host.last().State; state != bridge.Stopped {
				t.Fatalf("it is %s at its end", state)
			}
		}
	})
}
