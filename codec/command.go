package codec

import (
	"slices"
	"unicode/utf8"
)

// The types of the two verbs; those of messages are the Cloud API's own words.
const (
	TypeRead   = "read"
	TypeTyping = "typing"
)

// commandDepth is how deep a command is looked into: the link of a template
// carousel's header is at depth 11.
const commandDepth = 12

// Command is one decoded, validated, normalised send.
type Command struct {
	Type string // text … template; TypeRead and TypeTyping for the verbs
	// Conversation is the lane: "to" without spaces, dashes, brackets and "+", or
	// the BSUID, or the group id; for a verb its message_id.
	Conversation string
	Verb         bool
	// Body is the Cloud API send body: messaging_product and type filled in, short
	// forms expanded, "to" as "+" and digits, biz_opaque_callback_data taken out.
	// Everything else is byte for byte as it came. It may alias the input.
	Body     []byte
	Callback string // the user's own biz_opaque_callback_data
	// Media is the first media object with an object or a link, nil without.
	// MediaRefs holds them all, in the order of Body.
	Media     *MediaRef
	MediaRefs []MediaRef
	// EventID is the CloudEvent's id; "" where the command is plain JSON.
	EventID string
	// TraceParent and TraceState come from the headers traceparent or
	// ce-traceparent in any letter case, else from a structured event.
	TraceParent string
	TraceState  string
}

// DecodeCommand reads a command: plain JSON, or a CloudEvent in binary mode (ce-*
// headers) or structured mode (Content-Type application/cloudevents+json). Header
// names count in any letter case. The error is an *InvalidError.
//
// It checks every limit that the Cloud API documents; a character is a Unicode
// code point. Members that the Cloud API does not know pass through. A member
// that stands twice in one object is refused: what was checked must be what is
// sent.
func DecodeCommand(header map[string][]string, body []byte) (*Command, error) {
	c := &Command{}
	body, err := c.unwrap(header, body)
	if err != nil {
		return nil, err
	}
	if err := c.decode(body); err != nil {
		return nil, err
	}
	return c, nil
}

// AppendBody appends Body with biz_opaque_callback_data as its last member; none
// where callback is "" or the command is a verb.
func (c *Command) AppendBody(dst []byte, callback string) []byte {
	if callback == "" || c.Verb {
		return append(dst, c.Body...)
	}
	dst = slices.Grow(dst, len(c.Body)+len(callbackMember)+len(callback)+8)
	dst = append(dst, c.Body[:len(c.Body)-1]...)
	return append(appendMember(dst, callbackMember, callback), '}')
}

// commandObject is the places of a command's members, 0 where there are none.
type commandObject struct {
	product, to, recipient, recipientType, kind, context int
	status, messageID, typing, callback                  int

	content     int // the content object
	contents    int // how many there are
	contentName string
}

// decode reads a plain JSON command.
func (c *Command) decode(text []byte) *InvalidError {
	if !utf8.Valid(text) {
		return invalid("", "must be UTF-8")
	}
	var buf [32]node
	d, err := indexObject(text, commandDepth, buf[:0])
	if err != nil {
		return invalid("", "must be a JSON object: "+err.Error())
	}
	if i := d.distinct(); i >= 0 {
		return twice(i)
	}
	o := d.command()
	if o.product != 0 && !d.is(o.product, "whatsapp") {
		return invalid("messaging_product", "must be whatsapp, or left out")
	}
	if err := c.readCallback(&d, o.callback); err != nil {
		return err
	}
	if o.status != 0 || o.typing != 0 {
		return c.decodeVerb(text, &d, &o)
	}
	return c.decodeMessage(text, &d, &o)
}

// command finds the members of a command.
func (d *doc) command() commandObject {
	var o commandObject
	for n := d.first(0); n != 0; n = d.next(n) {
		switch name := d.nameBytes(n); string(name) {
		case "messaging_product":
			o.product = n
		case "to":
			o.to = n
		case "recipient":
			o.recipient = n
		case "recipient_type":
			o.recipientType = n
		case "type":
			o.kind = n
		case "context":
			o.context = n
		case "status":
			o.status = n
		case "message_id":
			o.messageID = n
		case "typing_indicator":
			o.typing = n
		case callbackMember:
			o.callback = n
		default:
			if word := contentType(string(name)); word != "" {
				o.content, o.contentName = n, word
				o.contents++
			}
		}
	}
	return o
}

// contentType is name where it is a message type's, else "".
func contentType(name string) string {
	switch name {
	case "text":
		return "text"
	case "image":
		return "image"
	case "audio":
		return "audio"
	case "video":
		return "video"
	case "document":
		return "document"
	case "sticker":
		return "sticker"
	case "location":
		return "location"
	case "contacts":
		return "contacts"
	case "reaction":
		return "reaction"
	case "interactive":
		return "interactive"
	case "template":
		return "template"
	}
	return ""
}

func (c *Command) readCallback(d *doc, n int) *InvalidError {
	if n == 0 {
		return nil
	}
	if d.kind(n) != kindString {
		return invalid(callbackMember, "must be a string")
	}
	c.Callback = d.str(n)
	if has := utf8.RuneCountInString(c.Callback); has > maxCallbackData {
		return tooLong(callbackMember, maxCallbackData, "characters", has)
	}
	return nil
}

// decodeVerb reads mark-as-read and typing.
func (c *Command) decodeVerb(text []byte, d *doc, o *commandObject) *InvalidError {
	c.Verb, c.Type = true, TypeRead
	if !d.is(o.status, "read") {
		return invalid("status", "must be read")
	}
	if o.to != 0 || o.recipient != 0 || o.contents > 0 || o.kind != 0 {
		return invalid("", "has a status and so marks a message as read: leave out recipient, type and content, or the status")
	}
	if err := d.text(0, "message_id", 0); err != nil {
		return err
	}
	if o.typing != 0 {
		c.Type = TypeTyping
		if d.kind(o.typing) != kindObject {
			return invalid("typing_indicator", "must be an object")
		}
		if err := d.oneOf(o.typing, "type", "text"); err != nil {
			return within("typing_indicator", err)
		}
	}
	c.Conversation = d.str(o.messageID)
	var buf [maxEdits]edit
	c.Body = splice(text, d.nodes[0], d.normalise(buf[:0], o, "", ""))
	return nil
}

// decodeMessage reads everything that has a recipient.
func (c *Command) decodeMessage(text []byte, d *doc, o *commandObject) *InvalidError {
	to, err := c.address(d, o)
	if err != nil {
		return err
	}
	if err := c.readType(d, o); err != nil {
		return err
	}
	if o.context != 0 {
		if d.kind(o.context) != kindObject {
			return invalid("context", "must be an object")
		}
		if err := d.text(o.context, "message_id", 0); err != nil {
			return within("context", err)
		}
	}
	if err := d.content(c.Type, o.content); err != nil {
		return within(c.Type, err)
	}
	var buf [maxEdits]edit
	c.Body = splice(text, d.nodes[0], d.normalise(buf[:0], o, c.Type, to))
	if isMedia(c.Type) || c.Type == "interactive" || c.Type == "template" {
		if c.MediaRefs = FindMedia(c.Body); len(c.MediaRefs) > 0 {
			c.Media = &c.MediaRefs[0]
		}
	}
	return nil
}

// readType finds the type and its one content object.
func (c *Command) readType(d *doc, o *commandObject) *InvalidError {
	if o.kind != 0 {
		if c.Type = contentType(d.str(o.kind)); c.Type == "" {
			return invalid("type", "must be one of text, image, audio, video, document, sticker, location, "+
				"contacts, reaction, interactive, template")
		}
	}
	switch {
	case o.contents > 1:
		return invalid("", "has more than one content object: send each as a command of its own")
	case o.contents == 0 && c.Type == "":
		return invalid("", "has no content: needs an object such as text or template")
	case o.contents == 0:
		return invalid(c.Type, "is missing")
	case c.Type == "":
		c.Type = o.contentName
	case c.Type != o.contentName:
		return invalid("type", "is "+c.Type+", but the content is "+o.contentName)
	}
	return nil
}
