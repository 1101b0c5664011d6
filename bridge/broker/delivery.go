package broker

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge"
)

// position is what a delivery's reply subject tells.
type position struct {
	delivered uint64 // how many times, this one included
	stream    uint64 // sequence in the stream
	consumer  uint64 // sequence of deliveries, +1 each
	stored    time.Time
	pending   uint64 // how many the consumer has not delivered yet
}

// readPosition reads $JS.ACK.<stream>.<consumer>.<delivered>.<stream
// seq>.<consumer seq>.<time>.<pending>, or the form that has a domain and an
// account after $JS.ACK. It allocates nothing.
func readPosition(reply string) (position, error) {
	skip := 4
	if strings.Count(reply, ".") > 9 {
		skip = 6
	}
	rest, ours := strings.CutPrefix(reply, "$JS.ACK.")
	for range skip - 2 {
		_, rest, _ = strings.Cut(rest, ".")
	}
	var numbers [5]uint64
	for i := range numbers {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		n, err := strconv.ParseUint(token, 10, 64)
		if err != nil || !ours {
			return position{}, errors.New("a delivery's reply subject cannot be read")
		}
		numbers[i] = n
	}
	return position{
		delivered: numbers[0],
		stream:    numbers[1],
		consumer:  numbers[2],
		stored:    time.Unix(0, int64(numbers[3])),
		pending:   numbers[4],
	}, nil
}

// sessionOf is the last token of a subject.
func sessionOf(subject string) string {
	return subject[strings.LastIndexByte(subject, '.')+1:]
}

func newDelivery(m *nats.Msg, at position, shard int) *bridge.Delivery {
	return &bridge.Delivery{
		Session:     sessionOf(m.Subject),
		Shard:       shard,
		Sequence:    at.stream,
		Stored:      at.stored,
		Redelivered: at.delivered > 1,
		Pending:     at.pending,
		Header:      m.Header,
		Body:        m.Data,
		Settler:     settler{m},
	}
}

// settler settles a delivery by an answer to it.
type settler struct{ m *nats.Msg }

func (s settler) Ack() error { return s.m.Respond([]byte("+ACK")) }

func (s settler) TermWithReason(reason string) error { return s.m.Respond([]byte("+TERM " + reason)) }

func (s settler) InProgress() error { return s.m.Respond([]byte("+WPI")) }
