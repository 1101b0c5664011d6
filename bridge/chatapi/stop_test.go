package chatapi

import (
	"testing"
	"time"

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
