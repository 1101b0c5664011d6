package chatapi

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
	"wabridge/codec"
)

// send is one command between Send and its result.
type send struct {
	out     *bridge.Outgoing
	taken   time.Time // when Send took it
	written time.Time // when its write began; zero while queued
	span    trace.Span
	// Neighbours among the unanswered, oldest first.
	previous, following *send
}

// sends is the table of a session's commands: queued, then written and
// unanswered. Whoever takes a send out of it, and nobody else, calls its Done.
type sends struct {
	mu     sync.Mutex
	window int // 0: closed
	// careful is how many answers are still to be awaited one at a time, after
	// the platform refused one of several frames.
	careful int
	// denied is the code of the error with which the platform refuses this account
	// to send; 0 where it does not. It outlives connections.
	denied         int
	byRef          map[string]*send
	queue          []*send
	oldest, newest *send // unanswered
}

// open lets commands in, window of them at a time.
func (t *sends) open(window int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window = window
}

// resize changes the window while the table is open.
func (t *sends) resize(window int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.window > 0 {
		t.window = window
	}
}

// size is how many may be unanswered at once.
func (t *sends) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit()
}

// limit is size for who holds mu.
func (t *sends) limit() int {
	switch {
	case t.denied != 0:
		return 0
	case t.careful > 0:
		return min(t.window, 1)
	default:
		return t.window
	}
}

// deny lets no more commands in until allow. It reports whether that is new.
func (t *sends) deny(code int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.denied
	t.denied = code
	return before == 0
}

// allow ends deny. It reports whether there was one.
func (t *sends) allow() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.denied
	t.denied = 0
	return before != 0
}

// denial is the code of deny; 0 where commands are let in.
func (t *sends) denial() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.denied
}

// add queues a command, or says why it cannot be.
func (t *sends) add(out *bridge.Outgoing, now time.Time) (refusal string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.window == 0:
		return "not connected"
	case t.denied != 0:
		return "the platform lets this account send nothing"
	case len(t.byRef) >= t.limit():
		return "the platform's window is full"
	}
	if _, there := t.byRef[out.Ref]; there {
		return "a send with this ref is unanswered"
	}
	if t.byRef == nil {
		t.byRef = make(map[string]*send)
	}
	s := &send{out: out, taken: now}
	t.byRef[out.Ref] = s
	t.queue = append(t.queue, s)
	return ""
}

// take appends all that is queued to batch. It stays in the table.
func (t *sends) take(batch []*send) []*send {
	t.mu.Lock()
	defer t.mu.Unlock()
	batch = append(batch, t.queue...)
	clear(t.queue)
	t.queue = t.queue[:0]
	return batch
}

// wrote notes that the write of s begins: from here on, it may have left.
func (t *sends) wrote(s *send, now time.Time, span trace.Span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.written, s.span = now, span
	s.previous = t.newest
	if t.newest != nil {
		t.newest.following = s
	} else {
		t.oldest = s
	}
	t.newest = s
}

// drop takes s, which was not written, out of the table.
func (t *sends) drop(s *send) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byRef, s.out.Ref)
}

// answered takes the written send of ref out of the table; nil where there is
// none. widened says that size has grown by it.
func (t *sends) answered(ref string) (s *send, widened bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s = t.byRef[ref]
	if s == nil || s.written.IsZero() {
		return nil, false
	}
	delete(t.byRef, ref)
	t.unlink(s)
	if t.careful > 0 {
		t.careful--
		widened = t.careful == 0
	}
	return s, widened
}

// unlink takes s out of the list of the unanswered.
func (t *sends) unlink(s *send) {
	if s.previous != nil {
		s.previous.following = s.following
	} else {
		t.oldest = s.following
	}
	if s.following != nil {
		s.following.previous = s.previous
	} else {
		t.newest = s.previous
	}
	s.previous, s.following = nil, nil
}

// waiting returns when the oldest unanswered send was written; zero where all
// are answered.
func (t *sends) waiting() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.oldest == nil {
		return time.Time{}
	}
	return t.oldest.written
}

// shut closes the table to new commands and takes those out that were not
// written.
func (t *sends) shut() (queued []*send) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.window = 0
	for _, s := range t.byRef {
		if s.written.IsZero() {
			queued = append(queued, s)
		}
	}
	for _, s := range queued {
		delete(t.byRef, s.out.Ref)
	}
	t.queue = nil
	return queued
}

// end takes all that are left out of the table, oldest first. With tooBig, and
// more than one, the next connection goes carefully.
func (t *sends) end(tooBig bool) (unanswered []*send) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := t.oldest; s != nil; s = s.following {
		unanswered = append(unanswered, s)
	}
	for _, s := range unanswered {
		s.previous, s.following = nil, nil
	}
	t.oldest, t.newest = nil, nil
	clear(t.byRef)
	if tooBig {
		t.careful = 0
		if len(unanswered) > 1 {
			t.careful = len(unanswered)
		}
	}
	return unanswered
}

// resultOf is the result of a send of this type that the platform answered.
func resultOf(answer *codec.SendResult, kind string) bridge.Result {
	if answer.Error == nil {
		return bridge.Result{Class: codec.Accepted, ID: answer.ID, Duplicate: answer.Duplicate}
	}
	rule := codec.Classify(answer.Error, 0)
	if codec.GoneMedia(answer.Error, kind) {
		rule = codec.Rule{Class: codec.Permanent}
	}
	return bridge.Result{
		Class: rule.Class, Scope: rule.Scope, Tries: rule.Tries,
		Wait: max(rule.Wait, answer.RetryAfter), Error: answer.Error,
	}
}
