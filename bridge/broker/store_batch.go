package broker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A stream with copies takes what waits as one batch, all or nothing, in one
// round trip: a record alone would cost one each, since no second try may be in
// flight beside it (see Store).
//
// Every try begins with the first record that has no answer. So once that one
// is stored, an earlier try that is still on its way holds an id which JetStream
// knows, and is refused as a whole: it cannot come behind what follows.
const (
	// A batch is cut at batchRecords (JetStream takes 1,000) and at batchBytes,
	// which is about what goes to the other copies as one entry of their log.
	batchRecords = 500
	batchBytes   = 256 << 10
	// batchOverhead is more than a batch's own headers take.
	batchOverhead = 160

	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
	headerMsgID         = "Nats-Msg-Id"
)

// What JetStream says to a batch that it takes in other pieces, or record by
// record.
const (
	codeBatchDisabled   jetstream.ErrorCode = 10174
	codeBatchIncomplete jetstream.ErrorCode = 10176
	codeBatchTooLarge   jetstream.ErrorCode = 10199
	codeBatchDuplicate  jetstream.ErrorCode = 10201
	codeBatchTooMany    jetstream.ErrorCode = 10210
	// codeInProcess: an earlier try with this id, by whoever, is on its way to
	// the copies; whether it gets there is open.
	codeInProcess jetstream.ErrorCode = 10158
)

var errNoBatch = errors.New("the answer to a batch names no batch")

// batchTry is the batch that was published last.
type batchTry struct {
	number uint64 // of the try, by which its refusal is known; 0: it was no batch, or was given up
	first  uint64 // the number of its first record
	count  int
}

// span is how many records of the queue, from the i-th on, are published as one
// batch.
func (s *Store) span(i int) int {
	b := s.broker
	if !b.replicated.Load() {
		return 1
	}
	dead := b.isDead(s.queue[i].record.Subject)
	if dead && !b.batches.dead.Load() || !dead && !b.batches.recv.Load() {
		return 1
	}
	n, bytes, largest := 0, 0, int(b.nc.MaxPayload())-batchOverhead
	for _, e := range s.queue[i:min(i+s.limit, len(s.queue))] {
		bytes += e.size + batchOverhead
		if e.state != waiting || bytes > batchBytes || e.size > largest ||
			len(e.record.Header[headerMsgID]) == 0 || b.isDead(e.record.Subject) != dead {
			break
		}
		n++
	}
	return max(n, 1)
}

// publishBatch sends n records, from the i-th of the queue on, as one batch. It
// reports whether the store has to look again: where it failed.
func (s *Store) publishBatch(i, n int) bool {
	b := s.broker
	s.batches++
	try := batchTry{number: s.batches, first: s.first + uint64(i), count: n}
	id := b.answers.token + "-" + strconv.FormatUint(s.id, 36) + "-" + strconv.FormatUint(try.number, 36)
	if err := s.enter(); err != nil {
		s.fail(err)
		return true
	}
	defer b.line.leave()
	// JetStream takes 50 unfinished batches: ours are not mixed.
	b.batchTurn.Lock()
	defer b.batchTurn.Unlock()
	for k := range n {
		r := s.queue[i+k].record
		header := maps.Clone(r.Header) // the record's own stays as it is: it may be published alone
		header[headerBatchID] = []string{id}
		header[headerBatchSequence] = []string{strconv.Itoa(k + 1)}
		m := &nats.Msg{Subject: r.Subject, Header: header, Data: r.Body}
		if k == n-1 {
			header[headerBatchCommit] = []string{"1"}
			m.Reply = string(b.answers.reply(nil, s.id, try.first)) + "-" + strconv.FormatUint(try.number, 36)
		}
		if err := b.nc.PublishMsg(m); err != nil {
			// What has left is never committed.
			s.fail(err)
			return true
		}
	}
	now := time.Now()
	for k := range n {
		e := &s.queue[i+k]
		e.state, e.sent = flying, now
	}
	s.flying += n
	s.next = i + n
	s.try = try
	return false
}

// batchAnswered takes JetStream's answer to the batch that began with record
// first, whichever try it is to.
func (s *Store) batchAnswered(first, number uint64, a answer) {
	s.mu.Lock()
	defer s.unlock()
	if a.err == nil && a.count == 0 {
		a.err = errNoBatch
	}
	if a.err == nil {
		// Its records stand one behind the other.
		for k := range a.count {
			s.took(first+k, answer{sequence: a.sequence - (a.count - 1 - k)})
		}
		s.limit = min(max(s.limit, 2*int(a.count)), batchRecords)
		s.advance()
		return
	}
	if number != s.try.number {
		return // a refusal of a try that was given up
	}
	s.refused(a.err)
	s.advance()
}

// refused takes the batch in flight back.
func (s *Store) refused(err error) {
	for n := s.try.first; n < s.try.first+uint64(s.try.count); n++ {
		if e := s.entry(n); e != nil && e.state == flying {
			e.state = waiting
			s.flying--
		}
	}
	count := s.try.count
	s.try = batchTry{}
	if !splits(err) {
		s.fail(err)
		return
	}
	if codeOf(err) == codeBatchDisabled {
		// Until Health has read the streams again.
		s.broker.batches.recv.Store(false)
		s.broker.batches.dead.Store(false)
	}
	// Half of it is tried, and so on down to the first alone: its answer says
	// what is the matter, such as the sequence of the one that stands.
	s.limit = max(count/2, 1)
	s.next = 0
	s.broker.metrics.retries.Add(context.Background(), 1)
}

// splits reports whether a refusal is of the batch as such.
func splits(err error) bool {
	return tooLarge(err) || slices.Contains([]jetstream.ErrorCode{
		codeBatchDisabled, codeBatchIncomplete, codeBatchTooLarge, codeBatchDuplicate, codeBatchTooMany, codeInProcess,
	}, codeOf(err))
}

func codeOf(err error) jetstream.ErrorCode {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode
	}
	return 0
}

// isDead tells the subjects of dead letters, which are in a stream of their own.
func (b *Broker) isDead(subject string) bool {
	return strings.HasPrefix(subject, b.names.Dead(""))
}
