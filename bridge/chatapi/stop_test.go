package chatapi

import (
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/bridge"
)

func TestStopDoesNotWaitForAStoreThatIsClosed(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.CloseTimeout = time.Hour })
	s.host.set(func(h *host) { h.hold = true })
	c := p.ready(t)
	c.message(1)
	eventually(t, "one taken", func() bool { return s.host.got() == "1:1" })
	s.stop()
	eventually(t, "no more sends", func() bool { return s.Window() == 0 })
	s.host.set(func(h *host) {
		for _, in := range h.held {
			in.Acker.Stored(in, bridge.ErrClosed)
		}
	})
	receive(t, s.done, "the end of Run")
}

// A session may stop whatever arrives at that moment, also the only one of its
// process: what it waited with is then closed.
func TestStopWhileMuchArrives(t *testing.T) {
	p := newPlatform(t)
	env := &Env{}
	for range 200 {
		s := start(t, p, func(c *Config) { c.Env = env })
		c := p.ready(t)
		arriving := make(chan struct{})
		go func() {
			defer close(arriving)
			for c.conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second)) == nil {
			}
		}()
		s.connected(t)
		s.stop()
		receive(t, s.done, "the end of Run")
		receive(t, arriving, "the end of what arrives")
	}
}
