package simulator

import (
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"
)

// burst is how much the writer puts together for one system call.
const burst = 128 << 10

// write is the connection's only writer but for pongs.
func (c *conn) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	var buf []byte
	for {
		select {
		case <-ping.C:
			if c.control(opPing, nil) != nil {
				c.fail()
			}
			continue
		case <-c.wake:
		}
		for {
			c.pause(&c.mute)
			var answered []*Message
			var more, closing bool
			buf, answered, more, closing = c.collect(buf[:0])
			noise := c.takeNoise()
			c.sim.flush()
			if closing {
				c.end(buf)
				return
			}
			if len(buf) > 0 && c.send(buf) != nil {
				c.fail()
				break
			}
			c.sim.answered(answered)
			if c.sendNoise(noise) != nil {
				c.fail()
				break
			}
			if !more {
				break
			}
		}
	}
}

// collect takes what is to be written next: answers first, then events.
func (c *conn) collect(buf []byte) (out []byte, answered []*Message, more, closing bool) {
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	for _, a := range c.answers {
		buf = appendFrame(buf, opText, a.frame)
		if a.result {
			c.unanswered-- // not before: a bridge that does not read stays within its window
		}
		if a.of != nil {
			answered = append(answered, a.of)
		}
	}
	clear(c.answers)
	c.answers = c.answers[:0]
	if c.closing || c.sess.conn != c {
		return buf, answered, false, true
	}
	l := &c.sess.log
	i := l.index(c.cursor)
	faults := len(c.sim.faults) > 0
	for ; i < len(l.events) && len(buf) < burst; i++ {
		if faults {
			buf, i = c.troubled(buf, l.events, i)
		} else {
			buf = appendFrame(buf, opText, l.events[i].frame)
		}
	}
	if i > 0 && i <= len(l.events) && len(l.events) > 0 {
		c.cursor = max(c.cursor, l.events[i-1].sequence+1)
		c.sess.written = max(c.sess.written, l.events[i-1].sequence)
	}
	return buf, answered, i < len(l.events), false
}

// troubled writes event i, and what faults make of it; it returns the last
// event that was written.
func (c *conn) troubled(buf []byte, events []event, i int) ([]byte, int) {
	s, id := c.sim, c.sess.cfg.ID
	if s.faultHit(FaultGap, id, "") != nil {
		// What an earlier connection brought may be stored, and acked.
		if c.withheld == 0 && events[i].sequence > c.sess.written {
			c.withheld = events[i].sequence
		}
		return buf, i
	}
	if i+1 < len(events) && s.faultHit(FaultReorder, id, "") != nil {
		buf = appendFrame(buf, opText, events[i+1].frame)
		return appendFrame(buf, opText, events[i].frame), i + 1
	}
	if s.faultHit(FaultDuplicate, id, "") != nil {
		buf = appendFrame(buf, opText, events[i].frame)
	}
	return appendFrame(buf, opText, events[i].frame), i
}

// answered notes that results were written.
func (s *Simulator) answered(list []*Message) {
	if len(list) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range list {
		m.Answered = true
	}
}

// send writes raw bytes within the write deadline.
func (c *conn) send(b []byte) error {
	if err := c.net.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	_, err := c.net.Write(b)
	return err
}

// control writes a control frame. One Write is one whole frame, so it may be
// called beside the writer.
func (c *conn) control(opcode byte, payload []byte) error {
	c.pause(&c.mute)
	return c.send(appendFrame(nil, opcode, payload))
}

// fail ends a connection that cannot be written to.
func (c *conn) fail() {
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	c.drop()
}

// end writes what is left and the close frame, and waits a little for the
// bridge to close its side.
func (c *conn) end(left []byte) {
	c.sim.mu.Lock()
	cut, code, reason := c.cut, c.closeCode, c.closeText
	c.sim.mu.Unlock()
	if cut {
		if tcp, ok := c.net.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset where the system can
		}
		_ = c.net.Close() // that is the point
		return
	}
	payload := binary.BigEndian.AppendUint16(nil, uint16(code))
	payload = append(payload, reason[:min(len(reason), 123)]...)
	if code == 1005 {
		payload = nil // what the bridge sent without a code is echoed so
	}
	if c.send(appendFrame(left, opClose, payload)) == nil {
		// The reader has the connection until the bridge closes its side.
		time.AfterFunc(closeWait, func() { _ = c.net.Close() }) // it may be closed by then
		return
	}
	_ = c.net.Close() // nothing can be said any more
}

// pause waits while a fault holds the connection.
func (c *conn) pause(until *atomic.Int64) {
	wait := time.Until(time.Unix(0, until.Load()))
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.stop:
	}
}
