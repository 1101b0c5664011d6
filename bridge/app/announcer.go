package app

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wabridge/bridge"
	"wabridge/codec"
)

// stateKey is a session's key in KV wa_state for its last known state.
func stateKey(session string) string { return "state." + session }

// stateValue is the value of a session_state event, and of KV wa_state.
type stateValue struct {
	State   bridge.State `json:"state"`
	Reason  string       `json:"reason,omitempty"`
	At      time.Time    `json:"at"`
	Replica string       `json:"replica"`
}

// pendingChanges bounds what is kept of one session's changes while JetStream
// takes none; the oldest go first, the newest is never lost.
const pendingChanges = 32

const (
	// stateWriters is how many states are on their way to KV wa_state at once.
	stateWriters = 16
	// tellAgain is the wait after a state could not be stored, and between looks
	// whether this replica may tell.
	tellAgain = 50 * time.Millisecond
)

// announcer tells of changes of state: a log line at once, then one event each,
// and the newest in KV wa_state, in order for each session, as soon as JetStream
// takes them. A state that is not taken holds up no other, and no event. While
// this replica may not act, it tells nothing: another one may be at work, and
// then forget is called. Changed never blocks.
type announcer struct {
	names   bridge.Names
	replica string
	kv      bridge.KV
	store   bridge.Store
	log     *slog.Logger
	metrics *metrics
	may     func() bool

	mu      sync.Mutex
	current map[string]bridge.State
	events  line[[]bridge.Change]
	states  line[bridge.Change]
	// writing holds the sessions whose state is being stored: one write each at a
	// time. False: it was forgotten meanwhile.
	writing map[string]bool
	untold  int           // events and states that are not stored yet
	idle    chan struct{} // closed while there are none
}

// line is what waits to be told, by session, in the order of their coming.
type line[T any] struct {
	of    map[string]T
	order []string
	wake  chan struct{}
}

func newLine[T any]() line[T] {
	return line[T]{of: make(map[string]T), wake: make(chan struct{}, 1)}
}

func (l *line[T]) put(session string, what T) {
	if _, waits := l.of[session]; !waits {
		l.order = append(l.order, session)
	}
	l.of[session] = what
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take takes the next one off; false where there is none.
func (l *line[T]) take() (session string, what T, ok bool) {
	for len(l.order) > 0 && !ok {
		session, l.order = l.order[0], l.order[1:]
		what, ok = l.of[session] // not where it was forgotten
		delete(l.of, session)
	}
	if len(l.order) == 0 && len(l.of) == 0 { // a map keeps the room that it once needed
		l.of, l.order = make(map[string]T), nil
	}
	return session, what, ok
}

func newAnnouncer(names bridge.Names, replica string, kv bridge.KV, store bridge.Store, log *slog.Logger, m *metrics) *announcer {
	idle := make(chan struct{})
	close(idle)
	return &announcer{
		names: names, replica: replica, kv: kv, store: store, log: log, metrics: m,
		may: func() bool { return true }, current: make(map[string]bridge.State),
		events: newLine[[]bridge.Change](), states: newLine[bridge.Change](),
		writing: make(map[string]bool), idle: idle,
	}
}

// changed notes one change of a session's state.
func (a *announcer) changed(session string, c bridge.Change) {
	if c.At.IsZero() {
		c.At = time.Now()
	}
	level := slog.LevelInfo
	switch c.State {
	case bridge.Unauthorized, bridge.Forbidden, bridge.Replaced, bridge.Disconnected:
		level = slog.LevelWarn
	case bridge.Connecting:
		level = slog.LevelDebug
	case bridge.Connected, bridge.Paused, bridge.Stopped:
	}
	a.log.Log(context.Background(), level, "session state", "session", session, "state", string(c.State), "reason", c.Reason)

	a.mu.Lock()
	defer a.mu.Unlock()
	a.metrics.moved(a.current[session], c.State)
	a.current[session] = c.State
	waiting := a.events.of[session]
	if len(waiting) >= pendingChanges {
		waiting = waiting[1:]
		a.told(1)
	}
	a.add(1)
	a.events.put(session, append(waiting, c))
	if _, waits := a.states.of[session]; !waits {
		a.add(1)
	}
	a.states.put(session, c)
}

// add counts what is to be told; mu is held.
func (a *announcer) add(n int) {
	if a.untold == 0 {
		a.idle = make(chan struct{})
	}
	a.untold += n
}

// told counts what has been told; mu is held.
func (a *announcer) told(n int) {
	a.untold -= n
	if n > 0 && a.untold == 0 {
		close(a.idle)
	}
}

// forget drops what is still to be told of sessions that another replica may
// run.
func (a *announcer) forget(sessions iter.Seq[string]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for session := range sessions {
		a.told(len(a.events.of[session]))
		delete(a.events.of, session)
		if _, waits := a.states.of[session]; waits {
			delete(a.states.of, session)
			a.told(1)
		}
		if _, is := a.writing[session]; is {
			a.writing[session] = false
		}
	}
}

// state is where a session of this replica stands.
func (a *announcer) state(session string) bridge.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current[session]
}

// in lists the sessions of this replica that are in a state.
func (a *announcer) in(state bridge.State) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []string
	for id, is := range a.current {
		if is == state {
			ids = append(ids, id)
		}
	}
	return ids
}

// gone forgets a session that left this replica.
func (a *announcer) gone(session string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.metrics.moved(a.current[session], "")
	a.metrics.gone(session)
	delete(a.current, session)
}

// flush blocks until everything noted so far is stored, or ctx ends.
func (a *announcer) flush(ctx context.Context) error {
	a.mu.Lock()
	idle := a.idle
	a.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("storing states: %w", ctx.Err())
	}
}

// run stores what is noted, until ctx ends.
func (a *announcer) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { a.tellEvents(ctx) })
	var writers errgroup.Group
	defer func() { _ = writers.Wait() }() // none of them fails
	writers.SetLimit(stateWriters)
	for {
		session, c, ok := next(ctx, a, &a.states)
		if !ok {
			return
		}
		a.mu.Lock()
		_, writing := a.writing[session]
		if writing {
			a.states.of[session] = c // who writes comes to it
		} else {
			a.writing[session] = true
		}
		a.mu.Unlock()
		if writing {
			continue
		}
		writers.Go(func() error { a.tellState(ctx, session, c); return nil })
	}
}

// next waits until there is something to tell that may be told; false where ctx
// ended.
func next[T any](ctx context.Context, a *announcer, l *line[T]) (session string, what T, ok bool) {
	for ctx.Err() == nil {
		wait := (<-chan time.Time)(nil)
		a.mu.Lock()
		switch {
		case len(l.order) == 0:
		case a.may():
			session, what, ok = l.take()
		default:
			wait = time.After(tellAgain)
		}
		a.mu.Unlock()
		if ok {
			return session, what, true
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-wait:
		}
	}
	return "", what, false
}

// tellEvents gives the store one event for each change.
func (a *announcer) tellEvents(ctx context.Context) {
	for {
		session, changes, ok := next(ctx, a, &a.events)
		if !ok {
			return
		}
		for _, c := range changes {
			r := a.event(session, c)
			r.Done = func(bridge.Stored) {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.told(1)
			}
			if err := a.store.Put(ctx, r); err != nil {
				return // ctx or the store has ended
			}
		}
	}
}

// tellState stores a session's state, or the one that follows it, for as long
// as that takes.
func (a *announcer) tellState(ctx context.Context, session string, c bridge.Change) {
	for {
		if a.may() {
			_, err := a.kv.Put(ctx, stateKey(session), a.value(c))
			if err == nil {
				break
			}
			a.log.Debug("storing a state failed; trying again", "session", session, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tellAgain):
		}
		a.mu.Lock()
		valid := a.writing[session]
		if newer, waits := a.states.of[session]; waits && valid {
			delete(a.states.of, session)
			c = newer
			a.told(1)
		}
		a.mu.Unlock()
		if !valid {
			break
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told(1)
	delete(a.writing, session)
	if newer, waits := a.states.of[session]; waits {
		delete(a.states.of, session)
		a.states.put(session, newer) // in line again
	}
}

func (a *announcer) value(c bridge.Change) []byte {
	b, err := json.Marshal(stateValue{State: c.State, Reason: c.Reason, At: c.At.UTC(), Replica: a.replica})
	if err != nil { // a plain struct
		panic(fmt.Sprintf("encoding a state: %v", err))
	}
	return b
}

func (a *announcer) event(session string, c bridge.Change) *bridge.Record {
	const field = "session_state"
	id := fmt.Sprintf("%s:%s:%s:%d", session, field, a.replica, c.At.UnixNano())
	header := map[string][]string{"Nats-Msg-Id": {id}}
	codec.SetEventHeaders(header, codec.EventAttributes{
		ID: id, Source: "/wabridge/" + session, Type: "whatsapp.event." + field, Time: c.At,
	})
	return &bridge.Record{
		Subject: a.names.Event(session),
		Header:  header,
		Body:    codec.AppendFieldEvent(nil, field, a.value(c)),
	}
}
