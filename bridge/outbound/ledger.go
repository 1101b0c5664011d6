package outbound

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// ledger notes attempts and outcomes of sends, by ref, on a platform that
// cannot tell a repeat itself.
type ledger struct {
	kv      bridge.KV
	session string
	process string // this run of this session: an attempt of another may be written
	doubt   time.Duration
}

// note is what the ledger holds of one ref.
type note struct {
	State    string    `json:"state"`
	Sequence uint64    `json:"sequence"`
	Process  string    `json:"process"`
	ID       string    `json:"id,omitempty"`
	At       time.Time `json:"at"`
}

const (
	noteAttempt  = "attempt"  // noted before the send: it may be written
	noteFailed   = "failed"   // not delivered: it may go again
	noteAccepted = "accepted" // the platform took it
	noteUnknown  = "unknown"  // never answered, and reported so
)

// verdict is what the ledger says on a send that is about to be made.
type verdict uint8

const (
	goAhead     verdict = iota // noted: send it
	wasAccepted                // the platform has it already
	wasUnknown                 // its outcome was reported as unknown
	inDoubt                    // an attempt may have been written
	tryLater                   // another command with this ref is being sent
	neverTried
)

func (l *ledger) key(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return l.session + "." + hex.EncodeToString(sum[:16])
}

// begin notes an attempt unless what stands speaks against it, and returns the
// revision of what then stands. With peek it notes nothing and answers
// neverTried in place of goAhead. sure says that this command's doubt is over
// and it shall go again.
func (l *ledger) begin(ctx context.Context, c *command, sure, peek bool) (v verdict, stands note, revision uint64, err error) {
	blind := !peek && c.attempts == 0 && !c.foreign // there is hardly anything to read
	err = persist(ctx, func() error {
		for {
			stands, revision = note{}, 0
			if !blind {
				if stands, revision, err = l.read(ctx, c.ref); err != nil {
					return err
				}
			}
			blind = false
			if v = l.weigh(&stands, c, sure); v != goAhead {
				return nil
			}
			if peek {
				v = neverTried
				return nil
			}
			mine := note{State: noteAttempt, Sequence: c.sequence, Process: l.process, At: time.Now()}
			revision, err = l.write(ctx, c.ref, mine, revision)
			if !errors.Is(err, bridge.ErrConflict) {
				return err
			}
		}
	}, nil)
	return v, stands, revision, err
}

// read returns what stands for a ref, and revision 0 where nothing does.
func (l *ledger) read(ctx context.Context, ref string) (note, uint64, error) {
	var stands note
	entry, err := l.kv.Get(ctx, l.key(ref))
	switch {
	case isNotFound(err):
		return stands, 0, nil
	case err != nil:
		return stands, 0, err
	}
	if err := json.Unmarshal(entry.Value, &stands); err != nil {
		// Of no use to anyone: treat it as an attempt that may be written.
		stands = note{State: noteAttempt}
	}
	return stands, entry.Revision, nil
}

func (l *ledger) weigh(stands *note, c *command, sure bool) verdict {
	switch stands.State {
	case noteAccepted:
		return wasAccepted
	case noteUnknown:
		if stands.Sequence == c.sequence {
			return wasUnknown
		}
		return goAhead // someone chose to send it again
	case noteAttempt:
		switch {
		case sure || stands.Sequence == c.sequence && stands.Process == l.process:
			return goAhead // it was not written
		case stands.Sequence != c.sequence && time.Since(stands.At) < 2*l.doubt:
			return tryLater
		default:
			return inDoubt
		}
	default:
		return goAhead
	}
}

// end notes what became of an attempt, over the revision that began it. Where
// someone else has written meanwhile, only accepted is written over theirs.
func (l *ledger) end(ctx context.Context, ref string, n note, revision uint64) error {
	n.Process, n.At = l.process, time.Now()
	return persist(ctx, func() error {
		for {
			var err error
			if revision != 0 || n.State == noteAccepted {
				_, err = l.write(ctx, ref, n, revision)
			}
			if !errors.Is(err, bridge.ErrConflict) {
				return err
			}
			var stands note
			if stands, revision, err = l.read(ctx, ref); err != nil {
				return err
			}
			if n.State != noteAccepted || stands.State == noteAccepted {
				return nil
			}
		}
	}, nil)
}

func (l *ledger) write(ctx context.Context, ref string, n note, revision uint64) (uint64, error) {
	value, err := json.Marshal(n)
	if err != nil {
		return 0, fmt.Errorf("writing a ledger entry: %w", err)
	}
	if revision == 0 {
		return l.kv.Create(ctx, l.key(ref), value)
	}
	return l.kv.Update(ctx, l.key(ref), value, revision)
}

// mayBeNoted says that only the ledger knows whether a late command was written
// by another process.
func (s *Session) mayBeNoted(c *command) bool {
	return s.ledger != nil && !c.Verb && c.foreign && c.attempts == 0 && !c.peeked
}

// noteAndSend notes the attempt of a flying command, then makes it.
func (s *Session) noteAndSend(c *command) {
	s.mu.Lock()
	sure, peek := c.sure, s.late(c, time.Now())
	s.mu.Unlock()
	v, stands, revision, err := s.ledger.begin(&s.life, c, sure, peek)
	window := s.allowed()
	s.mu.Lock()
	now := time.Now()
	c.revision = revision
	if err == nil && v == goAhead && window > 0 && c.state == isFlying {
		c.attempts++
		s.mu.Unlock()
		s.send(c)
		return
	}
	switch {
	case c.state == isDecided: // a status was quicker
		s.leaveLane(c, now)
	case err != nil:
		c.state = isWaiting // the session has ended
	default:
		c.state = isWaiting
		s.heed(c, v, &stands, now)
	}
	s.land() // after heed: Close waits for what that writes down
	s.pump(window, -1)
}

// heed follows what the ledger said of a command that was not sent.
func (s *Session) heed(c *command, v verdict, stands *note, now time.Time) {
	switch v {
	case wasAccepted:
		s.decide(c, outcome{word: codec.StatusAccepted, class: codec.Accepted, id: stands.ID}, now)
	case wasUnknown:
		s.decide(c, unknownOutcome(), now)
	case inDoubt:
		c.written = true
		s.cfg.Metrics.unanswered()
		s.doubt(c, now)
	case tryLater:
		s.parkHead(c, now, time.Second)
	case neverTried:
		c.peeked, c.written = true, false
		s.parkHead(c, now, 0)
	case goAhead: // noted, but the session may not send now
		c.state = isFlying
		s.noteLater(c, bridge.Result{Class: codec.Transient, Reason: "not able to send"})
	}
}

// noteLater writes an answer down in the background. It is called with mu held.
func (s *Session) noteLater(c *command, r bridge.Result) {
	s.noting++
	s.spawn(func() { s.noteAnswer(c, r) })
}

// noteAnswer writes an answer down before anything follows from it.
func (s *Session) noteAnswer(c *command, r bridge.Result) {
	n := note{Sequence: c.sequence, State: noteFailed, ID: r.ID}
	switch r.Class {
	case codec.Accepted:
		n.State = noteAccepted
	case codec.Unknown:
		n.State = noteAttempt
	default:
	}
	var err error
	if n.State != noteAttempt {
		err = s.ledger.end(&s.life, c.ref, n, c.revision)
	}
	window := s.allowed()
	s.mu.Lock()
	s.noting--
	s.settleDown()
	if err == nil {
		s.judge(c, &r, time.Now())
	}
	s.pump(window, -1)
}

// resolve ends a doubt that no status came for. It is called with mu held.
func (s *Session) resolve(c *command, now time.Time) {
	c.doubt = time.Time{}
	c.state = isFlying // nothing else may touch it
	if s.cfg.Policy == bridge.Resend {
		c.state, c.sure = isWaiting, true
		s.parkHead(c, now, 0)
		return
	}
	s.spawn(func() {
		err := s.ledger.end(&s.life, c.ref, note{State: noteUnknown, Sequence: c.sequence}, c.revision)
		window := s.allowed()
		s.mu.Lock()
		switch now := time.Now(); {
		case c.state == isDecided:
			s.leaveLane(c, now)
		case err == nil:
			s.decide(c, unknownOutcome(), now)
		}
		s.pump(window, -1)
	})
}

func unknownOutcome() outcome {
	return outcome{
		word: codec.StatusUnknown, class: codec.Unknown,
		title: "written and never answered", detail: "it may have been delivered",
	}
}
