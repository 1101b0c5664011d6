package simulator

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// webhookBody puts updates into one request body, as Meta escapes it.
// Neighbours of one kind share a change.
func (sess *session) webhookBody(list []update) []byte {
	b := append(make([]byte, 0, 256+512*len(list)), `{"object":"whatsapp_business_account","entry":[{"id":`...)
	b = appendText(b, sess.cfg.WABAID)
	if list[0].kind == "event" {
		b = append(b, `,"time":`...)
		b = strconv.AppendInt(b, time.Now().Unix(), 10)
	}
	b = append(b, `,"changes":[`...)
	for i := 0; i < len(list); {
		n := 1
		for list[i].kind != "event" && i+n < len(list) && list[i+n].kind == list[i].kind {
			n++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = sess.appendChange(b, list[i:i+n])
		i += n
	}
	return metaEscape(append(b, "]}]}"...))
}

func (sess *session) appendChange(b []byte, list []update) []byte {
	if list[0].kind == "event" {
		b = append(b, `{"value":`...)
		b = append(b, list[0].inner...)
		b = append(b, `,"field":`...)
		b = appendText(b, list[0].name)
		return append(b, '}')
	}
	b = append(b, `{"value":{"messaging_product":"whatsapp","metadata":`...)
	b = sess.appendMetadata(b)
	key := `,"statuses":[`
	if list[0].kind == "message" {
		key = `,"messages":[`
		b = append(b, `,"contacts":[`...)
		for i, u := range list {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, u.contact...)
		}
		b = append(b, ']')
	}
	b = append(b, key...)
	for i, u := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, u.inner...)
	}
	return append(b, `]},"field":"messages"}`...)
}

// metaEscape writes JSON the way Meta does: characters beyond ASCII as \uXXXX,
// slashes as \/. What is escaped already stays as it is.
func metaEscape(b []byte) []byte {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, len(b)+len(b)/8)
	unit := func(u rune) {
		out = append(out, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '\\' && i+1 < len(b):
			out = append(out, c, b[i+1])
			i += 2
		case c == '/':
			out = append(out, '\\', '/')
			i++
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			i += n
			if r >= 0x10000 {
				r -= 0x10000
				unit(0xd800 + r>>10)
				unit(0xdc00 + r&0x3ff)
			} else {
				unit(r)
			}
		}
	}
	return out
}
