package outbound

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"wabridge/bridge"
)

// The cursor of a session in wa_backlog is "<from> <touched>": the next owner
// reads from the first, and what is at or below the second may have been sent.

// takeCursor takes over where the backlog begins.
func (s *Session) takeCursor(entry bridge.Entry) error {
	cursor, touched, err := ParseCursor(entry.Value)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.back
	b.revision = entry.Revision
	if cursor == 0 {
		return nil
	}
	b.on, b.stored, b.held, b.touched, b.foreign = true, cursor, cursor, touched, touched
	b.first, b.next = cursor, cursor
	s.keep()
	return nil
}

// ParseCursor reads a value of wa_backlog: the sequence that the session is read
// from, and the highest that may have been sent. An empty value, of a session
// that is live, is 0 and 0.
func ParseCursor(value []byte) (from, touched uint64, err error) {
	if len(value) == 0 {
		return 0, 0, nil
	}
	first, second, _ := strings.Cut(string(value), " ")
	if from, err = strconv.ParseUint(first, 10, 64); err != nil {
		return 0, 0, fmt.Errorf("backlog cursor: %w", err)
	}
	if second == "" {
		return from, 0, nil
	}
	if touched, err = strconv.ParseUint(second, 10, 64); err != nil {
		return 0, 0, fmt.Errorf("backlog cursor: %w", err)
	}
	return from, touched, nil
}

// touch says, in the cursor, that everything up to a sequence may be sent.
func (s *Session) touch(sequence uint64) error {
	s.mu.Lock()
	lowest, touched := s.lowest(), s.back.touched
	s.mu.Unlock()
	if sequence <= touched {
		return nil
	}
	return s.storeCursor(&s.life, lowest, sequence)
}

func (s *Session) storeCursor(ctx context.Context, from, touched uint64) error {
	return s.writeCursor(ctx, formatCursor(from, touched), from, touched)
}

func formatCursor(from, touched uint64) []byte {
	value := strconv.AppendUint(nil, from, 10)
	value = append(value, ' ')
	return strconv.AppendUint(value, touched, 10)
}

// clearCursor says that the session is live. The key stays, empty: to remove it
// could remove what another owner has written meanwhile.
func (s *Session) clearCursor() error { return s.writeCursor(&s.life, nil, 0, 0) }

func (s *Session) writeCursor(ctx context.Context, value []byte, from, touched uint64) error {
	if err := s.cursor.take(ctx, &s.life); err != nil {
		return err
	}
	defer s.cursor.leave()
	s.mu.Lock()
	b, closed := &s.back, s.closed
	needed := b.on || s.leans()
	if from == 0 && !needed && !closed {
		b.stored, b.touched = 0, 0 // from here on nothing may rest on it
	}
	s.mu.Unlock()
	switch {
	case closed: // Close writes the last one
		return bridge.ErrClosed
	case from == 0 && needed:
		return nil
	}
	return s.putCursor(ctx, value, from, touched)
}

// putCursor is called by whoever has the cursor: two writes at once would be each
// other's conflict.
func (s *Session) putCursor(ctx context.Context, value []byte, from, touched uint64) error {
	s.mu.Lock()
	revision := s.back.revision
	s.mu.Unlock()
	var err error
	if revision == 0 {
		revision, err = s.cfg.Cursors.Create(ctx, s.cfg.Session, value)
	} else {
		revision, err = s.cfg.Cursors.Update(ctx, s.cfg.Session, value, revision)
	}
	if errors.Is(err, bridge.ErrConflict) {
		// Our own write that was not answered, or an owner of before.
		entry, getErr := s.cfg.Cursors.Get(ctx, s.cfg.Session)
		if getErr != nil {
			return errors.Join(err, getErr)
		}
		s.mu.Lock()
		s.back.revision = entry.Revision
		s.mu.Unlock()
		return fmt.Errorf("storing the backlog cursor: %w", err)
	}
	if err != nil {
		return fmt.Errorf("storing the backlog cursor: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.back
	b.revision, b.stored, b.held, b.touched = revision, from, from, touched
	b.storeAt = time.Now().Add(cursorEvery)
	return nil
}

// lastCursor leaves the next owner no more to read than is unsettled.
func (s *Session) lastCursor(ctx context.Context) error {
	if err := s.cursor.take(ctx, &s.life); err != nil {
		return err
	}
	defer s.cursor.leave()
	may := s.may()
	s.mu.Lock()
	b := &s.back
	lowest := s.lowest()
	live := b.held == 0 || !may
	clean := !b.on && !s.leans()
	behind := lowest > b.stored
	touched := b.touched
	s.mu.Unlock()
	switch {
	case live:
		return nil
	case clean:
		return s.putCursor(ctx, nil, 0, 0)
	case behind:
		return s.putCursor(ctx, formatCursor(lowest, touched), lowest, touched)
	default:
		return nil
	}
}
