package codec

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Words of a report's status that are the bridge's own: the outcomes of a
// command. All others are the platform's.
const (
	StatusAccepted = "accepted"
	StatusRejected = "rejected"
	StatusExpired  = "expired"
	StatusUnknown  = "unknown"
)

// Rank orders the words on one message, so that a consumer can ignore what comes
// late: accepted 1, sent 2, delivered 3, read 4, played 5; rejected, expired,
// unknown, failed 9; else 0.
func Rank(status string) int {
	switch status {
	case StatusAccepted:
		return 1
	case "sent":
		return 2
	case "delivered":
		return 3
	case "read":
		return 4
	case "played":
		return 5
	case StatusRejected, StatusExpired, StatusUnknown, "failed":
		return 9
	}
	return 0
}

// Status is a Cloud API status object.
type Status struct {
	ID, Status   string
	Recipient    string // recipient_id, else recipient_user_id
	Conversation string // the group or user it was sent to, as in Command
	Participant  string // in groups: recipient_participant_id, else …_user_id
	At           time.Time
	Callback     string // biz_opaque_callback_data as it came
	Error        *Error // errors[0], nil where there is none with a code
	Raw          []byte // the object byte for byte; aliases what was parsed
}

// ParseStatus reads a status object. It needs an id and a status; unknown words
// and members pass.
func ParseStatus(raw []byte) (Status, error) {
	var buf [48]node
	d, err := indexObject(raw, 4, buf[:0])
	if err != nil {
		return Status{}, fmt.Errorf("reading status: %w", err)
	}
	st := Status{Raw: d.nodes[0].of(raw)}
	var id, word, phone, user, member, memberUser, callback int
	for c := d.first(0); c != 0; c = d.next(c) {
		switch {
		case d.named(c, "id"):
			id = c
		case d.named(c, "status"):
			word = c
		case d.named(c, "recipient_id"):
			phone = c
		case d.named(c, "recipient_user_id"):
			user = c
		case d.named(c, "recipient_participant_id"):
			member = c
		case d.named(c, "recipient_participant_user_id"):
			memberUser = c
		case d.named(c, callbackMember):
			callback = c
		case d.named(c, "timestamp"):
			st.At = d.moment(c)
		case d.named(c, "errors"):
			st.Error = d.firstError(c)
		}
	}
	var s [7]string
	d.pack(s[:], id, word, phone, user, member, memberUser, callback)
	st.ID, st.Status, st.Recipient, st.Participant, st.Callback = s[0], s[1], s[2], s[4], s[6]
	if st.Recipient == "" {
		st.Recipient = s[3]
	}
	if st.Participant == "" {
		st.Participant = s[5]
	}
	if st.ID == "" || st.Status == "" {
		return Status{}, errors.New("status without an id or a status")
	}
	st.Conversation = conversation("", s[2], s[3])
	return st, nil
}

// firstError is the first of an array of errors.
func (d *doc) firstError(n int) *Error {
	if d.kind(n) != kindArray {
		return nil
	}
	if c := d.first(n); c != 0 && d.kind(c) == kindObject {
		return d.error(c)
	}
	return nil
}

// WithCallback gives Raw with biz_opaque_callback_data set to value, or without
// it where value is "". Raw itself stays as it is.
func (s *Status) WithCallback(value string) []byte {
	var buf [32]node
	d, err := indexObject(s.Raw, 1, buf[:0])
	if err != nil {
		return s.Raw // not a status that ParseStatus gave
	}
	first := 0
	edits := d.without(0, func(c int) bool {
		if !d.named(c, callbackMember) {
			return false
		}
		if value != "" && first == 0 {
			first = c
			return false
		}
		return true
	})
	switch {
	case first != 0:
		n := &d.nodes[first]
		edits = append(edits, edit{int(n.start), int(n.end), string(appendString(nil, value))})
	case value != "":
		raw := d.nodes[0].of(s.Raw)
		return append(appendMember(slices.Clone(raw[:len(raw)-1]), callbackMember, value), '}')
	}
	return splice(s.Raw, d.nodes[0], edits)
}
