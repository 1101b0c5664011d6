package simulator

import (
	"strings"
	"unicode/utf8"
)

// sendBody is what the platform reads of a Cloud API send body.
type sendBody struct {
	kind          string // type; "read" and "typing" for the verbs
	number        string // the recipient, as users are kept
	recipientType string
	callback      string
	messageID     string // of a verb or reaction
	category      string // of a template
}

// verb tells mark-as-read and typing from messages.
func (b *sendBody) verb() bool { return b.kind == "read" || b.kind == "typing" }

// contentTypes are the message types that can be sent.
func contentType(name string) bool {
	switch name {
	case "text", "image", "audio", "video", "document", "sticker", "location", "contacts", "reaction", "interactive", "template":
		return true
	}
	return false
}

// parseBody reads a send body and holds it to the Cloud API's rules. The error
// is the one that the Cloud API answers.
func parseBody(data []byte) (*sendBody, *apiError) {
	b := &sendBody{category: "marketing"}
	var product, kind, to, recipient, status string
	var content, contextual []byte
	var name string
	typing := false
	var bad *apiError
	err := walkObject(data, func(key, value []byte) error {
		var into *string
		switch string(key) {
		case "messaging_product":
			into = &product
		case "recipient_type":
			into = &b.recipientType
		case "to":
			into = &to
		case "recipient":
			into = &recipient
		case "type":
			into = &kind
		case "status":
			into = &status
		case "message_id":
			into = &b.messageID
		case "biz_opaque_callback_data":
			into = &b.callback
		case "context":
			contextual = value
		case "typing_indicator":
			typing = true
		default:
			if !contentType(string(key)) {
				return nil
			}
			if name != "" && name != string(key) {
				bad = newAPIError(100, "More than one message object: "+name+" and "+string(key))
			}
			name, content = string(key), value
		}
		if into == nil {
			return nil
		}
		if !isString(value) {
			bad = newAPIError(100, string(key)+" must be a string")
			return nil
		}
		*into = text(value)
		return nil
	})
	switch {
	case err != nil:
		return nil, newAPIError(100, "The body is "+err.Error())
	case bad != nil:
		return nil, bad
	case product == "":
		return nil, newAPIError(100, "The parameter messaging_product is required.")
	case product != "whatsapp":
		return nil, newAPIError(100, "Param messaging_product must be one of {WHATSAPP}")
	}
	if status != "" || typing {
		return parseVerb(b, status, typing)
	}
	if bad = b.setRecipient(to, recipient); bad != nil {
		return nil, bad
	}
	if n := utf8.RuneCountInString(b.callback); n > 512 {
		return nil, newAPIError(100, "biz_opaque_callback_data must be at most 512 characters long")
	}
	if contextual != nil {
		if bad = checkContext(contextual); bad != nil {
			return nil, bad
		}
	}
	if kind == "" {
		kind = "text" // as the Cloud API takes it
	}
	b.kind = kind
	switch {
	case !contentType(kind):
		return nil, newAPIError(131051, "Message type "+kind+" is not supported")
	case name == "":
		return nil, newAPIError(131008, "Required parameter is missing: "+kind)
	case name != kind:
		return nil, newAPIError(100, "type is "+kind+" but the message object is "+name)
	}
	return b, b.checkContent(content)
}

func parseVerb(b *sendBody, status string, typing bool) (*sendBody, *apiError) {
	switch {
	case status != "read":
		return nil, newAPIError(100, "Param status must be one of {READ}")
	case b.messageID == "":
		return nil, newAPIError(131008, "Required parameter is missing: message_id")
	case !strings.HasPrefix(b.messageID, "wamid."):
		return nil, newAPIError(131009, "message_id is not valid")
	}
	b.kind = "read"
	if typing {
		b.kind = "typing"
	}
	return b, nil
}

func (b *sendBody) setRecipient(to, recipient string) *apiError {
	switch {
	case b.recipientType != "" && b.recipientType != "individual" && b.recipientType != "group":
		return newAPIError(100, "Param recipient_type must be one of {INDIVIDUAL, GROUP}")
	case to == "" && recipient == "":
		return newAPIError(100, "The parameter to is required.")
	case to == "":
		if !isBSUID(recipient) {
			return newAPIError(131009, "recipient is not a business-scoped user id")
		}
		b.number = recipient
		return nil
	}
	b.number = number(to)
	if b.recipientType == "group" {
		b.number = to
		return nil
	}
	if len(b.number) < 5 || len(b.number) > 15 || b.number[0] == '0' || strings.Trim(b.number, "0123456789") != "" {
		return newAPIError(131009, "to is not a phone number")
	}
	if !strings.HasPrefix(to, "+") {
		return newAPIError(131009, "to has no +: the business's own country code would be put in front")
	}
	return nil
}

func checkContext(raw []byte) *apiError {
	id := ""
	err := walkObject(raw, func(key, value []byte) error {
		if string(key) == "message_id" {
			id = text(value)
		}
		return nil
	})
	if err != nil || id == "" {
		return newAPIError(131009, "context.message_id is not valid")
	}
	return nil
}

// tooLong counts characters, as WhatsApp does.
func tooLong(s string, limit int) bool {
	return len(s) > limit && utf8.RuneCountInString(s) > limit
}
