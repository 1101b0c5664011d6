package simulator

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// wamids makes message ids that look like WhatsApp's: base64 of a small binary
// record that holds the peer's number and a unique string. Simulator.mu guards it.
type wamids struct {
	boot string
	n    uint64
}

// next makes the id of a message: of the business (fromUser false) or a user.
func (w *wamids) next(number string, fromUser bool) string {
	w.n++
	return makeWamid(number, fmt.Sprintf("%s%011X", w.boot, w.n), fromUser)
}

func makeWamid(number, unique string, fromUser bool) string {
	kind := byte(0x11)
	if fromUser {
		kind = 0x12
	}
	number = strings.TrimPrefix(number, "+")
	number = number[:min(len(number), 255)]
	b := make([]byte, 0, 48)
	b = append(b, 0x1c, 0x18, byte(len(number)))
	b = append(b, number...)
	b = append(b, 0x15, 0x02, 0x00, kind, 0x18, byte(len(unique)))
	b = append(b, unique...)
	b = append(b, 0x00)
	return "wamid." + base64.StdEncoding.EncodeToString(b)
}

// wamidNumber reads the number back; "" where the id is not one of ours.
func wamidNumber(id string) string {
	raw, ok := strings.CutPrefix(id, "wamid.")
	if !ok {
		return ""
	}
	b, err := base64.StdEncoding.DecodeString(raw)
	if err != nil || len(b) < 3 || len(b) < 3+int(b[2]) {
		return ""
	}
	return string(b[3 : 3+int(b[2])])
}
