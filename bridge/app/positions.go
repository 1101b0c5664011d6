package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	"wabridge/bridge/inbound"
)

// positions say which events of a shard's sessions are stored: those that
// Sessions names, and what stands in WA_RECV behind Recv. KV wa_state keeps them
// for whoever has the shard next.
type positions struct {
	Recv     uint64                      `json:"recv"`
	Sessions map[string]inbound.Position `json:"sessions"`
}

func positionsKey(shard int) string { return "positions." + strconv.Itoa(shard) }

const (
	// saveAfter is how many records of WA_RECV may stand behind what is saved:
	// whoever has the shard next reads them.
	saveAfter = 2048
	// saveEvery is in how many seconds they are saved where it is less than that.
	saveEvery = 10
	// saveWait bounds the wait for JetStream; what is not saved is saved later.
	saveWait = 2 * time.Second
)

// saved is what savePositions wrote last.
type saved struct {
	recv     uint64
	sessions []byte
	reached  uint64 // by WA_RECV, when they were last looked at; what was on its way then is saved with the next
}

// savePositions writes which events of the shard's sessions are stored. reached
// is a sequence that WA_RECV had reached at a moment when this replica owned the
// shard. It writes nothing where that is not at least records behind what was
// written last, or says nothing new.
func (s *shard) savePositions(ctx context.Context, reached, least uint64) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if reached < s.saved.recv+least || least > 0 && reached == s.saved.reached {
		return nil // nothing was stored since
	}
	p := positions{Recv: reached}
	s.mu.Lock()
	p.Sessions = maps.Clone(s.past)
	running := s.all()
	s.mu.Unlock()
	for id, one := range running {
		at, behind := one.in.Checkpoint()
		p.Recv = min(p.Recv, behind)
		if at.Epoch != "" {
			p.Sessions[id] = at
		}
	}
	sessions, err := json.Marshal(p.Sessions)
	if err != nil { // strings and numbers
		panic(fmt.Sprintf("encoding positions: %v", err))
	}
	if bytes.Equal(sessions, s.saved.sessions) && p.Recv < s.saved.recv+saveAfter {
		s.saved.reached = reached
		return nil
	}
	value := fmt.Appendf(nil, `{"recv":%d,"sessions":%s}`, p.Recv, sessions)
	if _, err := s.host.state.Put(ctx, positionsKey(s.n), value); err != nil {
		return fmt.Errorf("saving positions: %w", err)
	}
	s.saved = saved{recv: p.Recv, sessions: sessions, reached: reached}
	return nil
}

// keepPositions saves them while the shard runs.
func (s *shard) keepPositions(ctx context.Context, reached, least uint64) {
	select {
	case <-s.begun:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, saveWait)
	defer cancel()
	if err := s.savePositions(ctx, reached, least); err != nil {
		s.host.unsaved.Do(func() {
			s.log.Warn("positions cannot be saved: whoever takes the shard over reads more of WA_RECV", "error", err)
		})
	}
}
