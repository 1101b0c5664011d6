package inbound

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"wabridge/bridge"
)

// Position says which of a session's numbered events are stored.
type Position struct {
	// Epoch names the numbering; it changes if the platform starts again at 1.
	Epoch string `json:"epoch"`
	// Sequence is the one up to which every event of the epoch is stored.
	Sequence uint64 `json:"sequence"`
	// Ahead is what is stored behind the first that is not.
	Ahead Runs `json:"ahead,omitempty"`
}

// Found notes a record of WA_RECV, by its headers. Records are given in the order
// of the stream: an event of another epoch begins that one.
func (p *Position) Found(header map[string][]string) {
	epoch := first(header, headerEpoch)
	n, err := strconv.ParseUint(first(header, headerSequence), 10, 64)
	if err != nil || epoch == "" {
		return // it is not numbered, or somebody else wrote it
	}
	if p.Epoch != epoch {
		*p = Position{Epoch: epoch}
	}
	p.add(n)
}

// add notes one event of the epoch.
func (p *Position) add(n uint64) {
	if n > p.Sequence {
		p.Ahead.add(n)
		p.Sequence = p.Ahead.after(p.Sequence)
	}
}

// pass notes an event, and that nothing before it is awaited any more: what a
// platform leaves out, it does not have.
func (p *Position) pass(n uint64) {
	p.Sequence = p.Ahead.after(max(p.Sequence, n))
}

// Position returns the sequence up to which every event of epoch is stored, by
// whichever replica; 0 where none is. It blocks while events are on their way
// into the store.
//
// Events behind that may be stored, too: JetStream may have refused one and
// taken the next. Receive knows them and does not store them again.
func (s *Session) Position(ctx context.Context, epoch string) (uint64, error) {
	epoch = identifier(epoch) // as in the headers
	for {
		s.mu.Lock()
		if s.flying == 0 {
			break
		}
		if s.landed == nil {
			s.landed = make(chan struct{})
		}
		landed := s.landed
		s.mu.Unlock()
		select {
		case <-landed:
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for what is being stored: %w", context.Cause(ctx))
		}
	}
	defer s.mu.Unlock()
	if s.pos.Epoch != epoch {
		s.pos = Position{Epoch: epoch}
	}
	s.again = slices.Clone(s.pos.Ahead)
	return s.pos.Sequence, nil
}

// Checkpoint returns what is stored of the session: what else there is of its
// events, or will be, stands in WA_RECV behind the sequence behind. Of a session
// that has nothing under way, and whose store was not closed over something that
// may be stored, that is math.MaxUint64: it stands behind whatever the stream
// held when the caller last asked for its end.
func (s *Session) Checkpoint() (p Position, behind uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = s.pos
	p.Ahead = slices.Clone(p.Ahead)
	if s.flying > 0 || s.unsure {
		return p, s.since
	}
	return p, math.MaxUint64
}

// depart notes that in is on its way into the store, and land that it came to an
// end: that it is stored, or not.
func (s *Session) depart(in *bridge.Inbound) {
	if in.Sequence == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying == 0 {
		s.since = max(s.since, s.env.Horizon.Load())
	}
	s.flying++
}

func (s *Session) land(in *bridge.Inbound) {
	if in.Sequence == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying--
	if s.flying == 0 && s.landed != nil {
		close(s.landed)
		s.landed = nil
	}
}

// known reports whether numbered event in was stored when Position was asked for.
func (s *Session) known(in *bridge.Inbound) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.again) == 0 || s.pos.Epoch != identifier(in.Epoch) {
		return false
	}
	if in.Sequence > s.again[len(s.again)-1].High {
		s.again = nil
	}
	return s.again.has(in.Sequence)
}

// gap is the lowest event that could not be stored; the zero gap is none.
type gap struct {
	epoch    string
	sequence uint64
}

// settle notes what became of numbered event in, and says what its Acker hears;
// s.mu is held. A platform's acks are cumulative: what follows an event that
// could not be stored does not count as stored before that one does.
func (s *Session) settle(in *bridge.Inbound, recv uint64, err error) error {
	epoch := identifier(in.Epoch)
	if !s.unsure {
		s.since = max(s.since, recv) // what was put behind it stands behind it
	}
	if s.gap.epoch != epoch {
		s.gap = gap{}
	}
	if s.pos.Epoch != epoch {
		s.pos, s.again = Position{Epoch: epoch}, nil
	}
	switch {
	case err != nil:
		s.unsure = s.unsure || !errors.Is(err, bridge.ErrTooLarge)
		if s.gap.sequence == 0 || in.Sequence < s.gap.sequence {
			s.gap = gap{epoch: epoch, sequence: in.Sequence}
		}
		return err
	case s.gap.sequence == in.Sequence:
		s.gap = gap{}
	case s.gap.sequence != 0 && in.Sequence > s.gap.sequence:
		s.pos.add(in.Sequence)
		return errBehindGap
	}
	s.pos.pass(in.Sequence)
	return nil
}

var errBehindGap = errors.New("an earlier event of the session could not be stored")
