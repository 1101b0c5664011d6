package app

import (
	"errors"
	"fmt"
	"strings"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/chatapi"
)

// chat builds a Chat API session.
func (h *host) chat(def *bridge.Definition, s bridge.Host) (bridge.Session, error) {
	tokens, err := h.tokenSource(def)
	if err != nil {
		return nil, err
	}
	return chatapi.New(chatapi.Config{
		Definition: *def, Host: s, Tokens: tokens, Turn: h.pace.turn(def.URL), Env: h.chatapi,
	})
}

// tokenSource chooses the grant by what the definition holds: a given token, a
// refresh token, or client credentials.
func (h *host) tokenSource(def *bridge.Definition) (auth.Source, error) {
	if def.Token != "" {
		if path, isFile := strings.CutPrefix(string(def.Token), "file:"); isFile {
			return auth.NewFile(path, def.Scopes...)
		}
		token, err := auth.Resolve(string(def.Token))
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		return auth.NewStatic(token, def.Scopes...)
	}
	secret, err := resolve("client secret", def.ClientSecret)
	if err != nil {
		return nil, err
	}
	id := def.ID // and not all of def, for as long as the session lives
	conf := auth.Config{
		TokenURL: def.TokenURL, ClientID: def.ClientID, ClientSecret: secret, Scopes: def.Scopes,
		AllowInsecure: h.cfg.AllowInsecure, Client: h.oauth,
		Fetched: func(token auth.Token, err error) { h.metrics.fetched(id, token, err) },
	}
	if def.RefreshToken == "" {
		if def.TokenURL == "" {
			return nil, errors.New("no way to a token: set a token, or a token URL with client credentials")
		}
		return auth.NewClientCredentials(conf)
	}
	refresh := ""
	if def.RefreshToken != StoredToken {
		if refresh, err = resolve("refresh token", def.RefreshToken); err != nil {
			return nil, err
		}
	}
	if refresh == StoredToken { // in a variable of the environment
		refresh = ""
	}
	if refresh == "" && h.tokenKey == nil {
		return nil, errors.New("the refresh token is stored sealed: set WABRIDGE_TOKEN_KEY")
	}
	var keep auth.Keeper = &auth.MemoryKeeper{}
	if h.tokenKey == nil {
		h.log.Warn("a rotated refresh token is kept in memory only: set WABRIDGE_TOKEN_KEY, "+
			"or a restart or another replica finds the old one used up", "session", def.ID)
	} else {
		keep = keeper{kv: h.tokens, key: *h.tokenKey, session: def.ID}
	}
	return auth.NewRefreshToken(conf, refresh, keep)
}

// resolve gives the secret behind an optional reference.
func resolve(what string, ref bridge.SecretRef) (string, error) {
	if ref == "" {
		return "", nil
	}
	secret, err := auth.Resolve(string(ref))
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return secret, nil
}
