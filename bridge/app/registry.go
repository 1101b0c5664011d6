package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/outbound"
)

// ErrNoSession says that no session of this id is defined or has ever run.
var ErrNoSession = errors.New("no such session")

// SessionStatus is what the buckets say of one session.
type SessionStatus struct {
	Session  string `json:"session"`
	Platform string `json:"platform,omitempty"`
	// State is what the bridge told last; empty where it never ran.
	State   bridge.State `json:"state,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Since   time.Time    `json:"since,omitzero"`
	Replica string       `json:"replica,omitempty"`
	Paused  bool         `json:"paused"`
	// Stored says that the bucket of sessions defines it, and not the environment.
	Stored bool `json:"stored"`
	// Backlog is the sequence in WA_SEND from which its commands must still be
	// read; 0 means that it keeps up.
	Backlog uint64 `json:"backlog"`
	// Fault is what is wrong with its stored definition.
	Fault string `json:"fault,omitempty"`
}

// Defined reports whether something defines the session, or it ran a moment ago.
func (s *SessionStatus) Defined() bool {
	return s.Stored || s.Platform != "" || s.State != "" && s.State != bridge.Stopped
}

// Registry reads and changes what the buckets say of sessions. It needs no
// bridge that runs: the buckets are the truth, and replicas follow them.
type Registry struct {
	sessions, state, backlog bridge.KV
	// fixed gives the sessions that the environment defines.
	fixed []bridge.Definition
}

// OpenRegistry opens the buckets; fixed are the sessions that the environment
// defines, as far as the caller knows it.
func OpenRegistry(ctx context.Context, b *broker.Broker, fixed []bridge.Definition) (*Registry, error) {
	r := &Registry{fixed: fixed}
	for kind, kv := range map[string]*bridge.KV{
		broker.Sessions: &r.sessions, broker.State: &r.state, broker.Backlog: &r.backlog,
	} {
		var err error
		if *kv, err = b.KV(ctx, kind); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// List gives every session that is defined or has ever run, by id.
func (r *Registry) List(ctx context.Context) ([]SessionStatus, error) {
	definitions, err := r.sessions.All(ctx)
	if err != nil {
		return nil, err
	}
	states, err := r.state.All(ctx)
	if err != nil {
		return nil, err
	}
	cursors, err := r.backlog.All(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*SessionStatus)
	of := func(id string) *SessionStatus {
		if found[id] == nil {
			found[id] = &SessionStatus{Session: id}
		}
		return found[id]
	}
	for _, def := range r.fixed {
		of(def.ID).define(def)
	}
	for _, e := range definitions {
		of(e.Key).stored(e.Value)
	}
	for _, e := range states {
		if id, is := strings.CutPrefix(e.Key, stateKey("")); is {
			of(id).told(e.Value)
		}
	}
	for _, e := range cursors {
		if s := found[e.Key]; s != nil {
			s.behind(e.Value)
		}
	}
	list := make([]SessionStatus, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		list = append(list, *found[id])
	}
	return list, nil
}

// Get gives one session, or ErrNoSession.
func (r *Registry) Get(ctx context.Context, id string) (SessionStatus, error) {
	s := SessionStatus{Session: id}
	for _, def := range r.fixed {
		if def.ID == id {
			s.define(def)
		}
	}
	for _, part := range []struct {
		kv  bridge.KV
		key string
		add func([]byte)
	}{{r.sessions, id, s.stored}, {r.state, stateKey(id), s.told}, {r.backlog, id, s.behind}} {
		switch e, err := part.kv.Get(ctx, part.key); {
		case errors.Is(err, bridge.ErrNotFound):
		case err != nil:
			return SessionStatus{}, err
		default:
			part.add(e.Value)
		}
	}
	if !s.Stored && !s.Paused && s.Platform == "" && s.State == "" {
		return SessionStatus{}, fmt.Errorf("session %s: %w", id, ErrNoSession)
	}
	return s, nil
}

func (s *SessionStatus) define(def bridge.Definition) {
	s.Platform, s.Paused = def.Platform, def.Paused
}

// stored adds what the bucket of sessions holds. Without a platform it is a
// word on a session that the environment defines.
func (s *SessionStatus) stored(value []byte) {
	def, err := ParseDefinition(s.Session, value)
	switch {
	case err != nil:
		s.Stored, s.Fault = true, err.Error()
	case def.Platform == "":
		s.Paused = s.Paused || def.Paused
	case s.Platform != "":
		s.Paused = s.Paused || def.Paused // the environment's definition stands
	default:
		s.Stored = true
		s.define(def)
	}
}

func (s *SessionStatus) told(value []byte) {
	var v stateValue
	if err := json.Unmarshal(value, &v); err != nil {
		s.Fault = "its state cannot be read"
		return
	}
	s.State, s.Reason, s.Since, s.Replica = v.State, v.Reason, v.At, v.Replica
}

// behind adds where the session's backlog begins.
func (s *SessionStatus) behind(value []byte) {
	if from, _, err := outbound.ParseCursor(value); err == nil {
		s.Backlog = from
	}
}

// Definition is the stored definition of a session, or ErrNoSession.
func (r *Registry) Definition(ctx context.Context, id string) (bridge.Definition, error) {
	e, err := r.sessions.Get(ctx, id)
	if errors.Is(err, bridge.ErrNotFound) {
		return bridge.Definition{}, fmt.Errorf("session %s: %w", id, ErrNoSession)
	}
	if err != nil {
		return bridge.Definition{}, err
	}
	return ParseDefinition(id, e.Value)
}

// Add stores a definition. One that is there already is bridge.ErrConflict,
// unless replace is set.
func (r *Registry) Add(ctx context.Context, def bridge.Definition, replace bool) error {
	value, err := encodeDefinition(def)
	if err != nil {
		return err
	}
	if _, err := ParseDefinition(def.ID, value); err != nil {
		return err
	}
	if replace {
		_, err = r.sessions.Put(ctx, def.ID, value)
	} else {
		_, err = r.sessions.Create(ctx, def.ID, value)
	}
	return err
}

// Remove deletes a stored definition, or gives ErrNoSession. The state that the
// session was in stays known.
func (r *Registry) Remove(ctx context.Context, id string) error {
	switch _, err := r.sessions.Get(ctx, id); {
	case errors.Is(err, bridge.ErrNotFound):
		return fmt.Errorf("session %s: %w", id, ErrNoSession)
	case err != nil:
		return err
	}
	return r.sessions.Delete(ctx, id)
}

// Pause keeps a session from connecting until Resume; its commands wait. It
// reports whether that changed anything.
func (r *Registry) Pause(ctx context.Context, id string) (bool, error) {
	return r.change(ctx, id, func(s *SessionStatus, def *bridge.Definition) bool {
		def.Paused = true
		return !s.Paused
	})
}

// Resume lets a session go on that was paused, or that waits for someone after
// its token or permission was refused: it begins again. It reports whether
// there was anything to do.
func (r *Registry) Resume(ctx context.Context, id string) (bool, error) {
	return r.change(ctx, id, func(s *SessionStatus, def *bridge.Definition) bool {
		def.Paused = false
		def.Resumed = time.Now().UTC().Format(time.RFC3339Nano)
		return s.Paused || s.State != bridge.Connected && s.State != bridge.Connecting
	})
}

// change edits what the bucket holds of a session by compare-and-set.
func (r *Registry) change(ctx context.Context, id string, edit func(*SessionStatus, *bridge.Definition) bool) (bool, error) {
	for {
		s, err := r.Get(ctx, id)
		if err != nil {
			return false, err
		}
		e, err := r.sessions.Get(ctx, id)
		if err != nil && !errors.Is(err, bridge.ErrNotFound) {
			return false, err
		}
		def := bridge.Definition{ID: id}
		if err == nil {
			if def, err = ParseDefinition(id, e.Value); err != nil {
				return false, err
			}
		}
		if !edit(&s, &def) {
			return false, nil
		}
		value, err := encodeDefinition(def)
		if err != nil {
			return false, err
		}
		if e.Revision == 0 {
			_, err = r.sessions.Create(ctx, id, value)
		} else {
			_, err = r.sessions.Update(ctx, id, value, e.Revision)
		}
		if !errors.Is(err, bridge.ErrConflict) {
			return err == nil, err
		}
	}
}

// encodeDefinition writes what ParseDefinition reads.
func encodeDefinition(def bridge.Definition) ([]byte, error) {
	value, err := json.Marshal(def) //nolint:gosec // it holds references, no secrets: ParseDefinition sees to it
	if err != nil {
		return nil, fmt.Errorf("encoding the definition of session %s: %w", def.ID, err)
	}
	return value, nil
}
