package inbound

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"wabridge/bridge"
)

// Position says how far the numbered events of a session are stored.
type Position struct {
	// Epoch names the numbering; it changes if the platform starts again at 1.
	Epoch string `json:"epoch"`
	// Sequence is the highest number of the epoch that is stored.
	Sequence uint64 `json:"sequence"`
	// Recv is a sequence of WA_RECV: events after Sequence stand behind it.
	Recv uint64 `json:"recv"`
}

// Position returns the sequence up to which every event of epoch is known to be
// stored, by whichever replica; 0 where none is. It reads the saved position
// and WA_RECV from there to its end, and blocks meanwhile.
//
// Events behind that may be stored, too: a replica that died while JetStream
// refused one may have stored the next. Receive knows them and does not store
// them again.
func (s *Session) Position(ctx context.Context, epoch string) (uint64, error) {
	epoch = identifier(epoch) // as in the headers
	s.mu.Lock()
	p := s.pos
	s.mu.Unlock()
	saved, err := s.cfg.Positions.Load(ctx, s.cfg.Session)
	if err != nil {
		return 0, fmt.Errorf("loading the position: %w", err)
	}
	if saved.Recv >= p.Recv {
		p = saved
	}
	// Events of another epoch say nothing about this one, but those of this one
	// that came later stand behind them.
	if p.Epoch != epoch {
		p = Position{Epoch: epoch, Recv: p.Recv}
	}
	var ahead runs
	last := p.Recv
	err = s.cfg.Scan.ScanRecv(ctx, s.cfg.Session, p.Recv+1, func(sequence uint64, header map[string][]string) error {
		if first(header, headerEpoch) != epoch {
			return nil
		}
		n, err := strconv.ParseUint(first(header, headerSequence), 10, 64)
		if err != nil {
			return nil //nolint:nilerr // a header that somebody else wrote: it names no event
		}
		ahead.add(n)
		last = sequence
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading back what is stored: %w", err)
	}
	if p.Sequence = ahead.after(p.Sequence); len(ahead) == 0 {
		p.Recv = last
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(p)
	s.ahead = ahead
	return s.pos.Sequence, nil
}

// Moved reports whether there is something to save.
func (s *Session) Moved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pos != s.saved
}

// Save saves the position if it moved since it was saved last. The owner calls
// it about every second and on hand-over.
func (s *Session) Save(ctx context.Context) error {
	s.mu.Lock()
	p := s.pos
	moved := p != s.saved
	s.mu.Unlock()
	if !moved {
		return nil
	}
	if err := s.cfg.Positions.Save(ctx, s.cfg.Session, p); err != nil {
		return fmt.Errorf("saving the position: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = p
	return nil
}

// advance moves the position to p; s.mu is held.
func (s *Session) advance(p Position) {
	if p.Epoch != s.pos.Epoch {
		s.ahead = nil
		s.pos = Position{Epoch: p.Epoch, Sequence: p.Sequence, Recv: max(p.Recv, s.pos.Recv)}
		return
	}
	s.pos.Sequence = max(s.pos.Sequence, p.Sequence)
	if len(s.ahead) == 0 {
		s.pos.Recv = max(s.pos.Recv, p.Recv)
	}
}

// known reports whether numbered event in was found by Position to be stored.
func (s *Session) known(in *bridge.Inbound) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ahead) == 0 || s.pos.Epoch != identifier(in.Epoch) {
		return false
	}
	if in.Sequence > s.ahead[len(s.ahead)-1].high {
		s.ahead = nil
	}
	return s.ahead.has(in.Sequence)
}

// settle notes what became of numbered event in, and says what its Acker hears;
// s.mu is held. A platform's acks are cumulative: what follows an event that
// could not be stored does not count as stored before that one does.
func (s *Session) settle(in *bridge.Inbound, recv uint64, err error) error {
	epoch := identifier(in.Epoch)
	if s.gap.Epoch != epoch {
		s.gap = Position{}
	}
	switch {
	case err != nil:
		if s.gap.Sequence == 0 || in.Sequence < s.gap.Sequence {
			s.gap = Position{Epoch: epoch, Sequence: in.Sequence}
		}
		return err
	case s.gap.Sequence == in.Sequence:
		s.gap = Position{}
	case s.gap.Sequence != 0 && in.Sequence > s.gap.Sequence:
		return errBehindGap
	}
	s.advance(Position{Epoch: epoch, Sequence: in.Sequence, Recv: recv})
	return nil
}

var errBehindGap = errors.New("an earlier event of the session could not be stored")
