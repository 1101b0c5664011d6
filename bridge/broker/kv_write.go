package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// writeTry is how long one try of a write is waited for: a leader that steps
// down answers nothing, and the next one is there sooner than that.
const writeTry = time.Second

const headerExpected = jetstream.ExpectedLastSubjSeqHeader

var errBadKey = errors.New("no key of a bucket")

// write stores a value, or a marker that header describes, and gives its
// revision. A try that is not answered is made again until callWait is over: an
// id keeps the bucket from taking it twice, also where the first comes late.
func (k *keyValue) write(ctx context.Context, key string, header nats.Header, value []byte) (uint64, error) {
	if key == "" || strings.ContainsAny(key, " \t\r\n*>") {
		return 0, errBadKey
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	id := rand.Text()
	header[headerMsgID] = []string{id}
	m := &nats.Msg{Subject: k.writes + key, Header: header, Data: value}
	for tries := 1; ; tries++ {
		revision, err := k.writeOnce(ctx, m)
		switch {
		case err == nil:
			return revision, nil
		case unanswered(err) && pause(ctx, inProcessBackoff<<min(tries, 5)) == nil:
			continue
		case conflicts(err) && tries > 1:
			// A single copy looks at the revision before the id: it may be ours.
			stands, readErr := k.broker.leaderGet(ctx, k.stream, getRequest{LastFor: k.prefix + key})
			if readErr == nil && nats.Header(stands.header).Get(headerMsgID) == id {
				return stands.sequence, nil
			}
		}
		return 0, err
	}
}

func (k *keyValue) writeOnce(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTry)
	defer cancel()
	ctx, end := k.broker.call(ctx)
	defer end()
	ack, err := k.broker.js.PublishMsg(ctx, m)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// create stores a key that has no value: it never had one, or was removed.
func (k *keyValue) create(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := k.write(ctx, key, over(0), value)
	if !conflicts(err) {
		return revision, err
	}
	stands, readErr := k.broker.leaderGet(ctx, k.stream, getRequest{LastFor: k.prefix + key})
	if readErr != nil || !removed(stands.header) {
		return 0, err
	}
	return k.write(ctx, key, over(stands.sequence), value)
}

// over has a write take the place of one revision and no other.
func over(revision uint64) nats.Header {
	return nats.Header{headerExpected: {strconv.FormatUint(revision, 10)}}
}

// unanswered reports whether a try may have been carried out or be under way.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) ||
		codeOf(err) == codeInProcess
}

// conflicts reports whether a compare-and-set lost.
func conflicts(err error) bool {
	code := codeOf(err)
	return code == jetstream.JSErrCodeStreamWrongLastSequence || code == codeConflictReplicated
}
