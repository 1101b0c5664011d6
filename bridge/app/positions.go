package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"wabridge/bridge"
	"wabridge/bridge/inbound"
)

// positions keeps in KV wa_state how far each session's events are stored.
type positions struct{ kv bridge.KV }

func positionKey(session string) string { return "position." + session }

// Load implements inbound.Positions.
func (p positions) Load(ctx context.Context, session string) (inbound.Position, error) {
	var pos inbound.Position
	e, err := p.kv.Get(ctx, positionKey(session))
	switch {
	case errors.Is(err, bridge.ErrNotFound):
		return pos, nil
	case err != nil:
		return pos, fmt.Errorf("reading the position of session %s: %w", session, err)
	}
	if err := json.Unmarshal(e.Value, &pos); err != nil {
		return pos, fmt.Errorf("the position of session %s cannot be read: %w", session, err)
	}
	return pos, nil
}

// Save implements inbound.Positions.
func (p positions) Save(ctx context.Context, session string, pos inbound.Position) error {
	value, err := json.Marshal(pos)
	if err != nil {
		return fmt.Errorf("encoding a position: %w", err)
	}
	if _, err := p.kv.Put(ctx, positionKey(session), value); err != nil {
		return fmt.Errorf("saving the position of session %s: %w", session, err)
	}
	return nil
}
