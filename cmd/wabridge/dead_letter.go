package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/codec"
)

// letter is one dead letter.
type letter struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Session  string    `json:"session"`
	Class    string    `json:"class"`
	Code     int64     `json:"code,omitempty"`
	Reason   string    `json:"reason"`
	Attempts int64     `json:"attempts,omitempty"`
	Ref      string    `json:"ref,omitempty"`
	// Subject is where it came in; Command, its sequence among the commands: 0
	// where it was none.
	Subject string `json:"subject,omitempty"`
	Command uint64 `json:"command,omitempty"`
	// Size is that of the whole body, where only its beginning was kept.
	Size int64 `json:"size,omitempty"`

	header nats.Header
	body   []byte
}

func newLetter(subject string, header nats.Header, body []byte) *letter {
	number := func(name string) int64 {
		n, err := strconv.ParseInt(header.Get(name), 10, 64)
		if err != nil {
			return 0 // not there
		}
		return n
	}
	l := &letter{
		Session:  subject[strings.LastIndexByte(subject, '.')+1:],
		Class:    header.Get("Wa-Dead-Class"),
		Code:     number("Wa-Dead-Code"),
		Reason:   header.Get("Wa-Dead-Reason"),
		Attempts: number("Wa-Dead-Attempts"),
		Ref:      header.Get(codec.HeaderRef),
		Subject:  header.Get("Wa-Dead-Subject"),
		Command:  uint64(number("Wa-Dead-Sequence")),
		header:   header,
		body:     body,
	}
	if size := number("Wa-Dead-Size"); size > int64(len(body)) {
		l.Size = size
	}
	return l
}

// letter reads one dead letter.
func (c *client) letter(ctx context.Context, sequence uint64) (*letter, error) {
	s, err := c.stream(ctx, c.names.DeadStream())
	if err != nil {
		return nil, err
	}
	m, err := s.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("there is no dead letter %d", sequence)
	}
	if err != nil {
		return nil, fmt.Errorf("reading dead letter %d: %w", sequence, err)
	}
	l := newLetter(m.Subject, m.Header, m.Data)
	l.Sequence, l.Time = m.Sequence, m.Time.UTC()
	return l, nil
}

// fullLetter is a letter with all that it holds, for JSON.
type fullLetter struct {
	*letter
	Header map[string][]string `json:"header"`
	// Data is the body where it is JSON; Raw, in base64, where it is not.
	Data json.RawMessage `json:"data,omitempty"`
	Raw  []byte          `json:"raw,omitempty"`
}

func (l *letter) full() fullLetter {
	f := fullLetter{letter: l, Header: l.header}
	if json.Valid(l.body) {
		f.Data = l.body
	} else {
		f.Raw = l.body
	}
	return f
}

// show writes the letter for a person.
func (l *letter) show(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "dead letter %d of %s, %s\n", l.Sequence, l.Session, l.Time.Local().Format(time.DateTime))
	for _, name := range slices.Sorted(maps.Keys(l.header)) {
		for _, value := range l.header[name] {
			fmt.Fprintf(&b, "%s: %s\n", printable(name), printable(value))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", compact(l.body))
	_, err := io.WriteString(w, b.String())
	return err
}
