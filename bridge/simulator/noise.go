package simulator

import (
	"bytes"
	"compress/flate"
	"fmt"
)

// Variants are the malformed frames that FaultMalformed can send. All but
// wrong_data and no_sequence carry no sequence number and count for none.
func Variants() []string {
	return []string{
		"not_json", "truncated", "not_object", "not_event", "no_type", "unknown_type", "invalid_utf8", "binary",
		"no_data", "wrong_data", "no_sequence", "empty", "deep", "oversized", "bomb",
	}
}

// takeNoise hands the writer the malformed frames to write.
func (c *conn) takeNoise() []Fault {
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	list := c.noise
	c.noise = nil
	for i := range list {
		if list[i].Variant == "wrong_data" {
			// An event of its own right, so that the numbering has no hole.
			c.sim.emit(c.sess, occurrence{kind: "message", name: "text", data: []byte(`{"message":17}`)})
			list[i].Variant = ""
		}
	}
	return list
}

// sendNoise writes malformed frames.
func (c *conn) sendNoise(list []Fault) error {
	for _, f := range list {
		var err error
		switch f.Variant {
		case "":
		case "oversized":
			err = c.sendOversized(max(f.Size, 1<<20))
		case "bomb":
			err = c.sendBomb(max(f.Size, 1<<20))
		default:
			opcode := byte(opText)
			if f.Variant == "binary" {
				opcode = opBinary
			}
			err = c.send(appendFrame(nil, opcode, c.malformed(f.Variant)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// malformed makes the frames that are only a few bytes long. Of those with room
// for a number, no two are alike: a bridge may know a repeat.
func (c *conn) malformed(variant string) []byte {
	c.sim.mu.Lock()
	c.sim.frames++
	number := c.sim.frames
	c.sim.mu.Unlock()
	head := fmt.Sprintf(`{"specversion":"1.0","id":"noise-%d","source":"/whatsapp/noise"`, number)
	switch variant {
	case "not_json":
		return fmt.Appendf(nil, "frame %d is not JSON", number)
	case "truncated":
		return []byte(head + `,"type":"whatsapp.message.text","data":{"message":`)
	case "not_object":
		return fmt.Appendf(nil, `["a","list",%d]`, number)
	case "not_event":
		return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[%d]}`, number)
	case "no_type":
		return []byte(head + `,"data":{}}`)
	case "unknown_type":
		return []byte(head + `,"type":"whatsapp.surprise","data":{"a":1}}`)
	case "invalid_utf8":
		return []byte(head + ",\"type\":\"whatsapp.message.text\",\"data\":{\"message\":{\"id\":\"\xff\xfe\"}}}")
	case "no_data":
		return []byte(head + `,"type":"whatsapp.message.text","sequence":""}`)
	case "no_sequence":
		return []byte(head + `,"type":"whatsapp.message.text","data":{"message":{"id":"wamid.noise","type":"text"}}}`)
	case "deep":
		return append(fmt.Appendf(bytes.Repeat([]byte("["), 10_000), "%d", number), bytes.Repeat([]byte("]"), 10_000)...)
	case "binary":
		return []byte(head + `,"type":"whatsapp.message.text","data":{}}`)
	default:
		return nil
	}
}

// sendOversized streams one text frame of size bytes: an event whose text is
// far too long.
func (c *conn) sendOversized(size int) error {
	head := []byte(`{"specversion":"1.0","id":"noise","source":"/whatsapp/noise","type":"whatsapp.message.text","data":{"message":{"id":"wamid.noise","type":"text","text":{"body":"`)
	tail := []byte(`"}}}}`)
	if err := c.send(append(appendFrameHeader(nil, opText, size), head...)); err != nil {
		return err
	}
	fill := bytes.Repeat([]byte("x"), 64<<10)
	for left := size - len(head) - len(tail); left > 0; left -= len(fill) {
		if err := c.send(fill[:min(left, len(fill))]); err != nil {
			return err
		}
	}
	return c.send(tail)
}

// sendBomb sends a compressed message that inflates to size zeros: as
// permessage-deflate where it was negotiated, and against the rules (RSV1 set)
// where it was not.
func (c *conn) sendBomb(size int) error {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return fmt.Errorf("making bomb: %w", err)
	}
	zeros := make([]byte, 64<<10)
	for left := size; left > 0; left -= len(zeros) {
		if _, err = w.Write(zeros[:min(left, len(zeros))]); err != nil {
			return fmt.Errorf("making bomb: %w", err)
		}
	}
	if err = w.Flush(); err != nil {
		return fmt.Errorf("making bomb: %w", err)
	}
	return c.send(appendFrame(nil, opText|rsv1, bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})))
}
