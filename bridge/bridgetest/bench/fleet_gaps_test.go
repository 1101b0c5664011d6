package bench

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge"
)

// fleetRow is what an event did to sessions, over all rounds.
type fleetRow struct {
	what           string
	target         time.Duration
	waits, serving []time.Duration
}

// note adds how long sessions had no socket after an event at begun to its row.
func (f *fleet) note(what string, begun time.Time, waits []time.Duration, moves []move, target time.Duration) {
	i := slices.IndexFunc(f.rows, func(r *fleetRow) bool { return r.what == what })
	if i < 0 {
		i, f.rows = len(f.rows), append(f.rows, &fleetRow{what: what, target: target})
	}
	row := f.rows[i]
	row.waits = append(row.waits, waits...)
	row.serving = append(row.serving, f.states.since(begun, moves)...)
}

func (r *fleetRow) String() string {
	at := func(all []time.Duration, part float64) string {
		if len(all) == 0 {
			return "-"
		}
		slices.Sort(all)
		return strconv.FormatInt(all[int(float64(len(all)-1)*part)].Milliseconds(), 10)
	}
	target := ""
	if r.target > 0 {
		target = strconv.FormatInt(r.target.Milliseconds(), 10)
	}
	return fmt.Sprintf("%-18s %9d %9s %9s %9s %9s\n", r.what, len(r.waits), at(r.waits, 0.5), at(r.waits, 1), at(r.serving, 1), target)
}

// gaps sorts how long each session that moved had no socket: from the event that
// began it, or from when its socket closed. Before, each had one.
func gaps(moves []move, event time.Time, fromEvent bool) []time.Duration {
	type hold struct {
		open int
		down int64
		gap  time.Duration
	}
	holds := make(map[string]*hold)
	for _, m := range moves {
		h := holds[m.Session]
		if h == nil {
			h = &hold{open: 1}
			holds[m.Session] = h
		}
		if !m.Up {
			if h.open--; h.open == 0 {
				h.down = m.At
			}
			continue
		}
		if h.open++; h.open == 1 {
			from := h.down
			if fromEvent {
				from = event.UnixNano()
			}
			h.gap += time.Duration(m.At - from)
		}
	}
	var all []time.Duration
	for _, h := range holds {
		all = append(all, h.gap)
	}
	slices.Sort(all)
	return all
}

// firsts sorts how long after the start each session had its first socket.
func firsts(moves []move, begun time.Time) []time.Duration {
	seen := make(map[string]bool)
	var all []time.Duration
	for _, m := range moves {
		if m.Up && !seen[m.Session] {
			seen[m.Session] = true
			all = append(all, time.Duration(m.At-begun.UnixNano()))
		}
	}
	slices.Sort(all)
	return all
}

// states holds when the bridge said of each session that it is connected.
type states struct {
	mu        sync.Mutex
	connected map[string][]time.Time
}

func (s *states) hear(m *nats.Msg) {
	var e struct {
		Value struct {
			State bridge.State
			At    time.Time
		}
	}
	if json.Unmarshal(m.Data, &e) != nil || e.Value.State != bridge.Connected {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected == nil {
		s.connected = make(map[string][]time.Time)
	}
	id := strings.TrimPrefix(m.Subject, "wa.event.")
	s.connected[id] = append(s.connected[id], e.Value.At)
}

// since sorts how long after begun the bridge said that each session which
// moved is connected, the last time it said so.
func (s *states) since(begun time.Time, moves []move) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := make(map[string]bool)
	for _, m := range moves {
		moved[m.Session] = true
	}
	var all []time.Duration
	for id := range moved {
		if at := s.connected[id]; len(at) > 0 && at[len(at)-1].After(begun) {
			all = append(all, at[len(at)-1].Sub(begun))
		}
	}
	slices.Sort(all)
	return all
}

// A session that was without a socket twice has both gaps; one whose new socket
// came before the old one went has none.
func TestGaps(t *testing.T) {
	from := time.Unix(100, 0)
	at := func(session string, up bool, after time.Duration) move {
		return move{Session: session, Up: up, At: from.Add(after).UnixNano()}
	}
	moves := []move{
		at("a", false, 10*time.Millisecond), at("b", true, 20*time.Millisecond), at("b", false, 30*time.Millisecond),
		at("a", true, 50*time.Millisecond), at("a", false, 60*time.Millisecond), at("a", true, 65*time.Millisecond),
		at("c", false, 100*time.Millisecond), at("c", true, 200*time.Millisecond),
	}
	want := []time.Duration{0, 45 * time.Millisecond, 100 * time.Millisecond}
	if got := gaps(moves, from, false); !slices.Equal(got, want) {
		t.Errorf("gaps %v, want %v", got, want)
	}
	if got := gaps(moves[6:], from, true); !slices.Equal(got, []time.Duration{200 * time.Millisecond}) {
		t.Errorf("from the event on %v, want 200ms", got)
	}
}
