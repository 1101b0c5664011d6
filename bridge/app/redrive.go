package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge"
	"wabridge/codec"
)

// Letter is a dead letter as WA_DEAD holds it.
type Letter struct {
	Session  string
	Sequence uint64
	Header   map[string][]string
	Body     []byte
}

// RedriveOptions say what else of a dead letter may be sent again.
type RedriveOptions struct {
	// Again also sends what was sent again within the duplicates window.
	Again bool `json:"again,omitempty"`
	// IgnoreDeadline sends without the deadline what has passed it.
	IgnoreDeadline bool `json:"ignore_deadline,omitempty"`
}

// Redrive makes the command that sends a dead letter again: a new id and the
// old ref, so that a platform which knows the ref delivers nothing twice. The
// error says why the letter cannot be sent again.
func Redrive(names bridge.Names, l *Letter, o RedriveOptions) (*nats.Msg, error) {
	if err := unfit(l, o); err != nil {
		return nil, err
	}
	header := nats.Header{}
	for name, values := range l.Header {
		lower := strings.ToLower(name)
		late := o.IgnoreDeadline && strings.EqualFold(name, codec.HeaderDeadline)
		if !late && !strings.HasPrefix(lower, "wa-dead-") && !strings.HasPrefix(lower, "nats-") {
			header[name] = values
		}
	}
	id := fmt.Sprintf("%s:%d:replay", l.Session, l.Sequence)
	if o.Again {
		id = rand.Text()
	}
	header[codec.HeaderMsgID] = []string{id}
	return &nats.Msg{Subject: names.Send(l.Session), Header: header, Data: l.Body}, nil
}

// unfit says why a letter cannot be sent again.
func unfit(l *Letter, o RedriveOptions) error {
	header := nats.Header(l.Header)
	size, err := strconv.ParseInt(header.Get("Wa-Dead-Size"), 10, 64)
	cut := err == nil && size > int64(len(l.Body))
	switch {
	case header.Get("Wa-Dead-Sequence") == "" || l.Session == bridge.Unrouted:
		return errors.New("it came from the platform: there is no command to send again")
	case cut:
		return errors.New("it is too large: only its beginning was kept")
	case header.Get(codec.HeaderRef) == "":
		return errors.New("it has no ref: sent again it could be delivered twice")
	case o.IgnoreDeadline:
		return nil
	}
	deadline, err := codec.Deadline(l.Header)
	if err != nil {
		return errors.New("its deadline cannot be read; --ignore-deadline leaves it out")
	}
	if !deadline.IsZero() && deadline.Before(time.Now()) {
		return errors.New("its deadline has passed; --ignore-deadline leaves it out")
	}
	return nil
}
