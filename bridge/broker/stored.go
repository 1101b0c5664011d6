package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

// pendingHeader is how many more the stream has of what a batch asks for (ADR-31).
const pendingHeader = "Nats-Num-Pending"

// readDirect reads one answer to a direct get; nil ends them. The headers that
// the server adds come after those of the message and are taken out: the
// message may bring some of the same name.
func readDirect(m *nats.Msg) (*storedMessage, error) {
	sequence, ok := lastValue(m.Header, jetstream.SequenceHeader)
	if !ok {
		switch status := m.Header.Get("Status"); status {
		case "204", "404":
			return nil, nil //nolint:nilnil // the end is no error and no message
		case "503":
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("the server refuses a direct get: %s %s", status, m.Header.Get("Description"))
		}
	}
	s := &storedMessage{header: m.Header, body: m.Data}
	var err error
	if s.sequence, err = strconv.ParseUint(sequence, 10, 64); err != nil {
		return nil, fmt.Errorf("reading a direct get's sequence: %w", err)
	}
	at, _ := lastValue(m.Header, jetstream.TimeStampHeaer)
	if s.time, err = time.Parse(time.RFC3339Nano, at); err != nil {
		return nil, fmt.Errorf("reading a direct get's time: %w", err)
	}
	s.subject, _ = lastValue(m.Header, jetstream.SubjectHeader)
	if pending, ok := lastValue(m.Header, pendingHeader); ok {
		s.pending, _ = strconv.ParseUint(pending, 10, 32) // else it is not known
	}
	for _, name := range []string{
		jetstream.StreamHeader, jetstream.SubjectHeader, jetstream.SequenceHeader,
		jetstream.TimeStampHeaer, jetstream.LastSequenceHeader, pendingHeader,
	} {
		dropLast(m.Header, name)
	}
	return s, nil
}

func lastValue(h nats.Header, name string) (string, bool) {
	values := h[name]
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

func dropLast(h nats.Header, name string) {
	switch values := h[name]; len(values) {
	case 0:
	case 1:
		delete(h, name)
	default:
		h[name] = values[:len(values)-1]
	}
}

// readLeader reads the answer to STREAM.MSG.GET.
func readLeader(data []byte) (*storedMessage, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("reading a stored message: %w", err)
	}
	if e := answer.Error; e != nil {
		if e.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, bridge.ErrNotFound
		}
		return nil, e
	}
	m := answer.Message
	if m.Sequence == 0 {
		return nil, errors.New("reading a stored message: the answer holds none")
	}
	s := &storedMessage{subject: m.Subject, sequence: m.Sequence, time: m.Time, body: m.Data}
	if len(m.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(m.Header)
		if err != nil {
			return nil, fmt.Errorf("reading a stored message's headers: %w", err)
		}
		s.header = header
	}
	return s, nil
}
