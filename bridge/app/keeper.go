package app

import (
	"context"
	"errors"
	"fmt"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/broker"
)

// StoredToken stands where a definition refers to its refresh token: the bucket
// of tokens has it, from a login.
const StoredToken = "stored:"

// StoreRefreshToken puts a session's refresh token into the bucket of tokens,
// sealed with key, over whatever is there: a login is the newest word. A replica
// that exchanges an older one at this moment finds its own overtaken.
func StoreRefreshToken(ctx context.Context, b *broker.Broker, key, session, refreshToken string) error {
	sealing, err := auth.ParseKey(key)
	if err != nil {
		return fmt.Errorf("token key: %w", err)
	}
	kv, err := b.KV(ctx, broker.Tokens)
	if err != nil {
		return err
	}
	sealed, err := auth.Seal(sealing, []byte(refreshToken), []byte(session))
	if err != nil {
		return fmt.Errorf("sealing the token of session %s: %w", session, err)
	}
	if _, err := kv.Put(ctx, session, sealed); err != nil {
		return fmt.Errorf("storing the token of session %s: %w", session, err)
	}
	return nil
}

// keeper holds one session's rotated refresh token in KV wa_tokens, sealed, so
// that a replica that takes the session over goes on with the newest. It
// implements auth.Keeper.
type keeper struct {
	kv      bridge.KV
	key     auth.Key
	session string
}

// Load implements auth.Keeper.
func (k keeper) Load(ctx context.Context) (string, uint64, error) {
	e, err := k.kv.Get(ctx, k.session)
	switch {
	case errors.Is(err, bridge.ErrNotFound):
		return "", 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("reading the stored token of session %s: %w", k.session, err)
	}
	plain, err := auth.Open(k.key, e.Value, []byte(k.session))
	if err != nil {
		return "", 0, fmt.Errorf("the stored token of session %s was sealed with another WABRIDGE_TOKEN_KEY: "+
			"set the key it was sealed with, or delete its key in the bucket of tokens: %w", k.session, err)
	}
	return string(plain), e.Revision, nil
}

// Save implements auth.Keeper.
func (k keeper) Save(ctx context.Context, refreshToken string, revision uint64) (uint64, error) {
	sealed, err := auth.Seal(k.key, []byte(refreshToken), []byte(k.session))
	if err != nil {
		return 0, fmt.Errorf("sealing the token of session %s: %w", k.session, err)
	}
	var stored uint64
	if revision == 0 {
		stored, err = k.kv.Create(ctx, k.session, sealed)
	} else {
		stored, err = k.kv.Update(ctx, k.session, sealed, revision)
	}
	switch {
	case errors.Is(err, bridge.ErrConflict):
		return 0, auth.ErrConflict
	case err != nil:
		return 0, fmt.Errorf("storing the token of session %s: %w", k.session, err)
	}
	return stored, nil
}
