package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"sync"
	"time"

	"wabridge/bridge"
)

// definitions holds what sessions there are: those of the configuration, and
// those that KV wa_sessions defines, live. For a session of the configuration
// the bucket says only whether it is paused, and when it was resumed.
type definitions struct {
	kv  bridge.KV
	log *slog.Logger
	// changed is called after a session was added, changed or removed, without
	// the lock; faulty is called with what is wrong with a definition. A session
	// that was not defined before is defined by it all the same, with its fault.
	changed func(id string)
	faulty  func(id string, err error)

	mu     sync.RWMutex
	fixed  map[string]*bridge.Definition
	live   map[string]*bridge.Definition
	words  map[string]*bridge.Definition // what the bucket says of fixed sessions
	loaded chan struct{}                 // closed once the bucket was read
}

func newDefinitions(fixed []bridge.Definition, kv bridge.KV, log *slog.Logger) *definitions {
	d := &definitions{
		kv: kv, log: log,
		fixed:  make(map[string]*bridge.Definition, len(fixed)),
		live:   make(map[string]*bridge.Definition),
		words:  make(map[string]*bridge.Definition),
		loaded: make(chan struct{}),
	}
	for _, def := range fixed {
		d.fixed[def.ID] = &def
	}
	return d
}

// get returns the definition of a session, which nobody changes: a change takes
// its place.
func (d *definitions) get(id string) (*bridge.Definition, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.lookup(id)
}

func (d *definitions) lookup(id string) (*bridge.Definition, bool) {
	if def, ok := d.fixed[id]; ok {
		word := d.words[id]
		if word == nil {
			return def, true
		}
		changed := *def
		changed.Paused, changed.Resumed = def.Paused || word.Paused, word.Resumed
		return &changed, true
	}
	def, ok := d.live[id]
	return def, ok
}

// ofShard lists the sessions of one shard.
func (d *definitions) ofShard(shard, shards int) []*bridge.Definition {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var defs []*bridge.Definition
	for _, m := range []map[string]*bridge.Definition{d.fixed, d.live} {
		for id := range maps.Keys(m) {
			if bridge.Shard(id, shards) != shard {
				continue
			}
			if def, ok := d.lookup(id); ok {
				defs = append(defs, def)
			}
		}
	}
	return defs
}

// watch follows the bucket until ctx ends.
func (d *definitions) watch(ctx context.Context) {
	once := sync.OnceFunc(func() { close(d.loaded) })
	for ctx.Err() == nil {
		err := d.kv.Watch(ctx, func(e *bridge.Entry) {
			if e == nil {
				once()
				return
			}
			d.apply(e)
		})
		if ctx.Err() != nil {
			return
		}
		d.log.Warn("watching the session definitions failed; beginning again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// apply takes one entry of the bucket.
func (d *definitions) apply(e *bridge.Entry) {
	id := e.Key
	var def bridge.Definition
	if !e.Deleted {
		var err error
		if def, err = ParseDefinition(id, e.Value); err == nil && def.Platform == "" && !d.isFixed(id) {
			err = errors.New("platform is missing: want chatapi or cloudapi")
		}
		if err != nil {
			d.faulty(id, err)
			if !bridge.ValidID(id) {
				return
			}
			// Its commands wait until someone mends it.
			def = bridge.Definition{ID: id, Platform: platformOf(e.Value), Fault: err.Error()}
		}
	}
	d.mu.Lock()
	before, existed := d.lookup(id)
	_, fixed := d.fixed[id]
	switch {
	case def.Fault != "" && existed && before.Fault == "":
		// What runs goes on as it was defined before.
	case fixed:
		d.words[id] = &def
	case e.Deleted:
		delete(d.live, id)
	default:
		d.live[id] = &def
	}
	after, exists := d.lookup(id)
	d.mu.Unlock()
	if existed != exists || !reflect.DeepEqual(before, after) {
		d.changed(id)
	}
}

func (d *definitions) isFixed(id string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, fixed := d.fixed[id]
	return fixed
}

// platformOf reads the platform out of a definition that is faulty otherwise;
// empty where it names none.
func platformOf(value []byte) string {
	var def struct {
		Platform string `json:"platform"`
	}
	if json.Unmarshal(value, &def) != nil || def.Platform != bridge.PlatformChatAPI && def.Platform != bridge.PlatformCloudAPI {
		return ""
	}
	return def.Platform
}

// ParseDefinition reads a value of KV wa_sessions. Secrets in it must be
// references: a definition that brings a secret itself is refused, since anyone
// who may read the bucket could read it.
func ParseDefinition(id string, value []byte) (bridge.Definition, error) {
	var def bridge.Definition
	if !bridge.ValidID(id) {
		return def, fmt.Errorf("session id %q: want 1 to 64 letters, digits, _ or -", id)
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&def); err != nil {
		return bridge.Definition{}, fmt.Errorf("definition of session %s: %w", id, describeJSON(err))
	}
	if def.ID != "" && def.ID != id {
		return bridge.Definition{}, fmt.Errorf("definition of session %s names another session", id)
	}
	def.ID = id
	var faults []error
	for name, ref := range map[string]bridge.SecretRef{
		"client_secret": def.ClientSecret, "refresh_token": def.RefreshToken, "token": def.Token,
		"app_secret": def.AppSecret, "previous_app_secret": def.PreviousAppSecret, "verify_token": def.VerifyToken,
	} {
		if ref == StoredToken && name == "refresh_token" {
			continue
		}
		if ref != "" && !strings.HasPrefix(string(ref), "env:") && !strings.HasPrefix(string(ref), "file:") {
			faults = append(faults, fmt.Errorf("%s: want a reference, env:NAME or file:/path, not the secret itself", name))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return bridge.Definition{}, fmt.Errorf("definition of session %s: %w", id, err)
	}
	return def, nil
}

// describeJSON keeps the value that encoding/json quotes out of an error: it may
// be a secret in the wrong place.
func describeJSON(err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		return fmt.Errorf("%s: want %s", typ.Field, typ.Type)
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	default:
		return errors.New("not JSON")
	}
}
