package codec

import (
	"errors"
	"fmt"
	"time"
)

// Message is what the bridge reads of {"message","contact","metadata"}.
type Message struct {
	ID   string
	Type string // "unknown" where the message has none
	// Conversation is group_id, else from (a phone number without "+"), else
	// from_user_id; "" where the message names nobody.
	Conversation  string
	Timestamp     time.Time // zero where there is none
	Media         *InboundMedia
	PhoneNumberID string
	// Raw, Contact and Metadata are the inner objects byte for byte. They alias
	// what was parsed; nil where they are not there.
	Raw, Contact, Metadata []byte
}

// InboundMedia is the media object of a message from a user.
type InboundMedia struct {
	Kind     string // image, audio, video, document, sticker; voice in old messages
	ID       string
	URL      string // good for five minutes; may be ""
	MIME     string
	SHA256   string // base64 or hex, as it came
	Filename string
}

// ParseMessage reads the data of whatsapp.message.<type>. A message needs an id;
// unknown types and members pass.
func ParseMessage(data []byte) (Message, error) {
	var buf [48]node
	d, err := indexObject(data, 3, buf[:0])
	if err != nil {
		return Message{}, fmt.Errorf("reading message data: %w", err)
	}
	n := d.get(0, "message")
	if n == 0 || d.kind(n) != kindObject {
		return Message{}, errors.New("message data without a message object")
	}
	metadata := d.get(0, "metadata")
	m := Message{
		Raw:      d.nodes[n].of(data),
		Contact:  d.nodes[d.get(0, "contact")].orNil(data),
		Metadata: d.nodes[metadata].orNil(data),
	}

	var id, kind, from, user, group int
	for c := d.first(n); c != 0; c = d.next(c) {
		switch {
		case d.named(c, "id"):
			id = c
		case d.named(c, "type"):
			kind = c
		case d.named(c, "from"):
			from = c
		case d.named(c, "from_user_id"):
			user = c
		case d.named(c, "group_id"):
			group = c
		case d.named(c, "timestamp"):
			m.Timestamp = d.moment(c)
		}
	}
	var s [6]string
	d.pack(s[:], id, kind, from, user, group, d.child(metadata, "phone_number_id"))
	m.ID, m.Type, m.PhoneNumberID = s[0], s[1], s[5]
	m.Conversation = conversation(s[4], s[2], s[3])
	if m.ID == "" {
		return Message{}, errors.New("message without an id")
	}
	if m.Type == "" {
		m.Type = "unknown"
	}
	if c := d.get(n, m.Type); c != 0 && (isMedia(m.Type) || m.Type == "voice") {
		m.Media = d.inboundMedia(m.Type, c)
	}
	return m, nil
}

func (d *doc) inboundMedia(kind string, n int) *InboundMedia {
	var s [5]string
	d.pack(s[:], d.get(n, "id"), d.get(n, "url"), d.get(n, "mime_type"), d.get(n, "sha256"), d.get(n, "filename"))
	if s[0] == "" && s[1] == "" {
		return nil
	}
	return &InboundMedia{Kind: kind, ID: s[0], URL: s[1], MIME: s[2], SHA256: s[3], Filename: s[4]}
}

// conversation is the first of what identifies a peer. A phone number loses what
// people write around its digits, so that both directions share a conversation;
// a BSUID, which can stand in place of a number, stays.
func conversation(group, phone, user string) string {
	switch {
	case group != "":
		return group
	case phone == "":
		return user
	}
	if digits, err := phoneDigits(phone); err == nil {
		return digits
	}
	return phone
}

// AppendMessage appends {"message":…,"contact":…,"metadata":…}, the parts byte
// for byte; a nil contact or metadata is left out.
func AppendMessage(dst, message, contact, metadata []byte) []byte {
	dst = append(dst, '{')
	dst = appendRaw(dst, "message", message)
	dst = appendRaw(dst, "contact", contact)
	dst = appendRaw(dst, "metadata", metadata)
	return append(dst, '}')
}
