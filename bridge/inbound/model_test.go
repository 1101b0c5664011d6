package inbound_test

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"wabridge/bridge"
	"wabridge/bridge/inbound"
)

// TestNothingStoredIsForgotten lets three sessions store events, has their
// checkpoints taken at any moment, and ends them at any moment: the last
// checkpoint, and what stands in the stream behind it, tell exactly what is
// stored.
func TestNothingStoredIsForgotten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: rt, env: config(t, new(memory)).Env, saved: make(map[int]inbound.Position)}
		m.begin(m.saved)
		rt.Repeat(map[string]func(*rapid.T){
			"events":     func(t *rapid.T) { m.some(t, m.event) },
			"taken":      func(t *rapid.T) { m.some(t, m.taken) },
			"answered":   func(t *rapid.T) { m.some(t, m.answered) },
			"refused":    func(t *rapid.T) { m.refused(m.one(t)) },
			"again":      func(t *rapid.T) { m.again(m.one(t)) },
			"horizon":    func(*rapid.T) { m.reached = len(m.stream); m.env.Horizon.Store(uint64(m.reached)) },
			"checkpoint": func(*rapid.T) { m.checkpoint() },
			"death":      func(*rapid.T) { m.begin(m.recalled()) },
			"":           func(*rapid.T) { m.check() },
		})
	})
}

const modelled = 3 // sessions

// model is a stream, and sessions that store in it.
type model struct {
	t        *rapid.T
	env      *inbound.Env
	stream   []entry // of sequence 1 and on
	sessions [modelled]*modelSession
	reached  int // the end of the stream, when somebody looked
	// What was saved last.
	saved map[int]inbound.Position
	from  int
}

// entry is a record of the stream.
type entry struct {
	session int
	header  map[string][]string
}

// modelSession is a session; its store has records that the stream has not
// taken, and some that it has and that are not answered.
type modelSession struct {
	*inbound.Session
	store memory
	sent  int   // the last event that the platform sent
	at    []int // where the stream has the records of store, as far as it took them
}

func (m *model) one(t *rapid.T) int { return rapid.IntRange(0, modelled-1).Draw(t, "session") }

// some does something a few times with a session.
func (m *model) some(t *rapid.T, what func(int)) {
	i := m.one(t)
	for range rapid.IntRange(1, 4).Draw(t, "times") {
		what(i)
	}
}

// begin gives every session a life that knows its past.
func (m *model) begin(past map[int]inbound.Position) {
	for i := range m.sessions {
		s := new(modelSession)
		var err error
		s.Session, err = inbound.New(inbound.Config{Env: m.env, Session: fmt.Sprintf("s%d", i), Store: &s.store, Past: past[i]})
		if err != nil {
			m.t.Fatal(err)
		}
		m.sessions[i] = s
		m.connect(s)
	}
}

// connect has the platform send what follows the session's position.
func (m *model) connect(s *modelSession) {
	at, err := s.Position(m.t.Context(), "e1")
	if err != nil {
		m.t.Fatal(err)
	}
	s.sent = int(at)
}

func (m *model) event(i int) {
	s := m.sessions[i]
	s.sent++
	if err := s.Receive(m.t.Context(), numbered("e1", s.sent)); err != nil {
		m.t.Fatal(err)
	}
}

// taken: the stream takes the next record of a session.
func (m *model) taken(i int) {
	s := m.sessions[i]
	if next := s.store.seen + len(s.at); next < len(s.store.records) {
		m.stream = append(m.stream, entry{i, s.store.records[next].Header})
		s.at = append(s.at, len(m.stream))
	}
}

// answered: a session hears that its oldest record is taken.
func (m *model) answered(i int) {
	s := m.sessions[i]
	if len(s.at) > 0 {
		at := s.at[0]
		s.at = s.at[1:]
		s.store.answer(bridge.Stored{Sequence: uint64(at)})
	}
}

// refused: it hears that it never will be.
func (m *model) refused(i int) {
	s := m.sessions[i]
	if len(s.at) == 0 && s.store.seen < len(s.store.records) {
		s.store.answer(bridge.Stored{Err: bridge.ErrTooLarge})
	}
}

// again: the connection was lost, and there is another.
func (m *model) again(i int) {
	if s := m.sessions[i]; s.store.seen == len(s.store.records) {
		m.connect(s)
	}
}

func (m *model) checkpoint() {
	saved, from := make(map[int]inbound.Position), uint64(m.reached)
	for i, s := range m.sessions {
		at, behind := s.Checkpoint()
		saved[i] = at
		from = min(from, behind)
	}
	m.saved, m.from = saved, int(from)
}

// recalled is what the next owner would know.
func (m *model) recalled() map[int]inbound.Position {
	found := maps.Clone(m.saved)
	for _, e := range m.stream[m.from:] {
		at := found[e.session]
		at.Ahead = append(inbound.Runs(nil), at.Ahead...)
		at.Found(e.header)
		found[e.session] = at
	}
	return found
}

// check compares what the next owner would know with what there is.
func (m *model) check() {
	var there [modelled]map[string]bool
	for i := range there {
		there[i] = make(map[string]bool)
	}
	for _, e := range m.stream {
		there[e.session][e.header["Wa-Sequence"][0]] = true
	}
	for i, at := range m.recalled() {
		known := make(map[string]bool)
		for n := uint64(1); n <= at.Sequence; n++ {
			known[fmt.Sprint(n)] = true
		}
		for _, r := range at.Ahead {
			for n := r.Low; n <= r.High; n++ {
				known[fmt.Sprint(n)] = true
			}
		}
		if !maps.Equal(known, there[i]) {
			m.t.Fatalf("session %d: the next owner would know of %v, and the stream has %v", i, known, there[i])
		}
	}
}
