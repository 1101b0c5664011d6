package codec

import (
	"errors"
	"slices"
)

// PartKind says what a WebhookPart is.
type PartKind uint8

// The kinds of parts.
const (
	PartMessage PartKind = iota + 1 // Data is as ParseMessage reads it
	PartStatus                      // Data is as ParseStatus reads it
	PartEvent                       // Data is as ParseFieldEvent reads it
	PartPoison                      // Data is what could not be read, as it came
)

// WebhookPart is one thing that a webhook tells.
type WebhookPart struct {
	Kind          PartKind
	WABA          string // the business account: entry.id
	Field         string // "messages", "account_update", …; "errors" for a value's own errors
	PhoneNumberID string // metadata.phone_number_id; "" for fields of the whole account
	EntryTime     int64  // entry.time in unix seconds, 0 where there is none
	// Data is ready to be stored, its inner objects byte for byte. It may alias the
	// body.
	Data []byte
	// Err says why a PartPoison could not be read; it quotes nothing.
	Err error
}

const (
	// webhookDepth reaches the messages of a thread of a history.
	webhookDepth = 11
	// maxRest is the most that is repeated with each element of a value that is
	// taken apart. A value with more beside its elements stays whole.
	maxRest = 64 << 10
)

// ParseWebhook takes a webhook's body apart: every message, every status and
// everything else by itself. Messages carry the contact that wrote them. Only
// the field "messages" has messages and statuses: those in history, echoes and
// calls are events, because nobody should answer them; histories and echoes are
// taken apart into one event for each message. What cannot be read is returned
// as PartPoison and the rest goes on. It fails only where body is no webhook.
func ParseWebhook(body []byte) ([]WebhookPart, error) {
	d, err := indexObject(body, webhookDepth, nil)
	if err != nil {
		return nil, err
	}
	entries := d.get(0, "entry")
	if entries == 0 || d.kind(entries) != kindArray {
		return nil, errors.New("webhook without an array of entries")
	}
	w := webhook{doc: d}
	if !d.is(d.get(0, "object"), "whatsapp_business_account") {
		w.poison(0, "webhook of something other than a WhatsApp business account")
		return w.parts, nil
	}
	for n := d.first(entries); n != 0; n = d.next(n) {
		w.entry(n)
	}
	return w.parts, nil
}

// webhook collects parts. at holds what the parts of the current change share.
type webhook struct {
	doc
	at    WebhookPart
	parts []WebhookPart
}

func (w *webhook) entry(n int) {
	w.at = WebhookPart{}
	if w.kind(n) != kindObject {
		w.poison(n, "entry that is no object")
		return
	}
	w.at.WABA = w.word(w.get(n, "id"))
	w.at.EntryTime = w.seconds64(w.get(n, "time"))
	changes := w.get(n, "changes")
	if changes == 0 || w.kind(changes) != kindArray {
		w.poison(n, "entry without an array of changes")
		return
	}
	for c := w.first(changes); c != 0; c = w.next(c) {
		w.change(c)
	}
}

func (w *webhook) seconds64(n int) int64 {
	if t := w.moment(n); !t.IsZero() {
		return t.Unix()
	}
	return 0
}

func (w *webhook) change(n int) {
	w.at.Field, w.at.PhoneNumberID = "", ""
	if w.kind(n) != kindObject {
		w.poison(n, "change that is no object")
		return
	}
	w.at.Field = w.str(w.get(n, "field"))
	value := w.get(n, "value")
	if w.at.Field == "" || value == 0 {
		w.poison(n, "change without a field or a value")
		return
	}
	w.at.PhoneNumberID = w.str(w.child(w.get(value, "metadata"), "phone_number_id"))
	switch history, messages := w.get(value, "history"), w.get(value, "messages"); {
	case w.at.Field == "messages":
		w.messages(value)
	case w.at.Field == "smb_message_echoes":
		w.split(value, value, nil, "message_echoes")
	case w.at.Field == "history" && history != 0 && messages == 0:
		w.split(value, value, nil, "history", "threads", "messages")
	case w.at.Field == "history" && history == 0:
		w.split(value, value, nil, "messages")
	default:
		w.event(w.at.Field, w.raw(value))
	}
}

// messages takes apart a value of the field "messages".
func (w *webhook) messages(value int) {
	if w.kind(value) != kindObject {
		w.poison(value, "value that is no object")
		return
	}
	var failed, other bool
	before := len(w.parts)
	for c := w.first(value); c != 0; c = w.next(c) {
		switch string(w.nameBytes(c)) {
		case "messaging_product", "metadata", "contacts":
		case "messages":
			book, metadata := w.contacts(value), w.nodes[w.get(value, "metadata")].orNil(w.input)
			w.each(c, func(n int) { w.message(n, w.contact(book, n), metadata) })
		case "statuses":
			w.each(c, w.status)
		case "errors":
			failed = true
		default:
			other = true
		}
	}
	if failed {
		w.rest(value, "errors", "messages", "statuses", "contacts")
	}
	// Nothing may get lost: members that nobody knew when this was written.
	if other || len(w.parts) == before {
		w.rest(value, w.at.Field, "messages", "statuses", "errors")
	}
}

// each calls f for every element of an array, or tells that it is none.
func (w *webhook) each(n int, f func(element int)) {
	if w.kind(n) != kindArray {
		w.poison(n, "list that is no array")
		return
	}
	for c := w.first(n); c != 0; c = w.next(c) {
		f(c)
	}
}

// rest makes an event of value without some of its members.
func (w *webhook) rest(value int, field string, without ...string) {
	edits := w.without(value, func(c int) bool { return slices.Contains(without, w.name(c)) })
	w.event(field, splice(w.input, w.nodes[value], edits))
}

func (w *webhook) message(n, contact int, metadata []byte) {
	if w.kind(n) != kindObject || w.str(w.get(n, "id")) == "" {
		w.poison(n, "message without an id")
		return
	}
	message := w.raw(n)
	var who []byte
	if contact != 0 {
		who = w.raw(contact)
	}
	size := len(`{"message":,"contact":,"metadata":}`) + len(message) + len(who) + len(metadata)
	w.add(PartMessage, AppendMessage(make([]byte, 0, size), message, who, metadata), nil)
}

func (w *webhook) status(n int) {
	if w.kind(n) != kindObject || w.str(w.get(n, "id")) == "" || w.str(w.get(n, "status")) == "" {
		w.poison(n, "status without an id or a status")
		return
	}
	w.add(PartStatus, w.raw(n), nil)
}

// contacts finds who wrote a message.
type contacts struct {
	by   map[string]int // by number and by user id
	only int            // the one there is, 0 where there are several or none
}

func (w *webhook) contacts(value int) contacts {
	list := w.get(value, "contacts")
	book := contacts{by: make(map[string]int)}
	count := 0
	for _, c := range w.elements(list) {
		book.only = c
		book.by[w.str(w.get(c, "wa_id"))] = c
		book.by[w.str(w.get(c, "user_id"))] = c
		count++
	}
	delete(book.by, "") // contacts without one of the two
	if count != 1 {
		book.only = 0
	}
	return book
}

// contact is the contact that wrote message n, 0 where it is not known. The user
// id can stand in place of the number.
func (w *webhook) contact(book contacts, n int) int {
	for _, name := range [...]string{"from", "from_user_id"} {
		if c, ok := book.by[w.str(w.get(n, name))]; ok {
			return c
		}
	}
	return book.only
}

// split makes an event of value for each element of the array that n, a part of
// it, holds under names[0], and of the arrays below by the other names: value with
// all of its members, but of each array that one element.
func (w *webhook) split(value, n int, edits []edit, names ...string) {
	var list int
	var below []string
	if len(names) > 0 {
		list, below = w.get(n, names[0]), names[1:]
	}
	if list == 0 || w.kind(list) != kindArray || w.first(list) == 0 || len(w.raw(n))-len(w.raw(list)) > maxRest {
		w.event(w.at.Field, splice(w.input, w.nodes[value], slices.Clone(edits)))
		return
	}
	begin, end := int(w.nodes[list].start)+1, int(w.nodes[list].end)-1
	if only := w.first(list); w.next(only) == 0 {
		w.split(value, only, edits, below...)
		return
	}
	for c := w.first(list); c != 0; c = w.next(c) {
		w.split(value, c, append(slices.Clip(edits),
			edit{begin, int(w.nodes[c].start), ""}, edit{int(w.nodes[c].end), end, ""}), below...)
	}
}

func (w *webhook) event(field string, value []byte) {
	size := len(`{"field":"","value":}`) + len(field) + len(value)
	w.add(PartEvent, AppendFieldEvent(make([]byte, 0, size), field, value), nil)
	w.parts[len(w.parts)-1].Field = field
}

func (w *webhook) poison(n int, reason string) { w.add(PartPoison, w.raw(n), errors.New(reason)) }

func (w *webhook) add(kind PartKind, data []byte, err error) {
	part := w.at
	part.Kind, part.Data, part.Err = kind, data, err
	w.parts = append(w.parts, part)
}
