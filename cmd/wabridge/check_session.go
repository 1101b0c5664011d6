package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/broker"
)

// errNotSpent says that a session's token cannot be had without spending its
// refresh token.
var errNotSpent = errors.New("its refresh token is left alone")

// session checks the token and the connection of one session.
func (c *checker) session(ctx context.Context, client *client, config *config, d *bridge.Definition) {
	known := client.lastState(ctx, d.ID)
	if d.Platform == bridge.PlatformCloudAPI {
		c.cloud(ctx, config, d, known)
		return
	}
	f := finding{Check: "session " + d.ID, State: stateOK}
	defer func() { c.add(f) }()
	if d.Platform != bridge.PlatformChatAPI {
		f.State, f.Detail, f.Remedy = stateFailed, "no such platform", "want chatapi or cloudapi"
		return
	}
	token, err := fetchToken(ctx, d, config.AllowInsecure)
	switch {
	case errors.Is(err, errNotSpent):
		f.Detail = "token not tried: " + err.Error() + known
		return
	case errors.Is(err, auth.ErrRefused), errors.Is(err, auth.ErrForbidden):
		f.State, f.Detail, f.Remedy = stateFailed, "token: "+err.Error(), "check the client's id, secret and scopes"
		return
	case err != nil:
		f.State, f.Detail, f.Remedy = stateFailed, "token: "+err.Error(), "check the token's variables and the network"
		return
	}
	req, err := probe(ctx, d, token)
	if err != nil {
		f.State, f.Detail = stateFailed, "connection: "+err.Error()
		return
	}
	res, err := auth.NewHTTPClient().Do(req)
	if err != nil {
		f.State, f.Detail, f.Remedy = stateFailed, "connection: "+err.Error(), "check the address and the network"
		return
	}
	// Only the status counts.
	_, copyErr := io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if err := cmp.Or(copyErr, res.Body.Close()); err != nil {
		f.State, f.Detail = stateFailed, "connection: "+err.Error()
		return
	}
	f.State, f.Detail, f.Remedy = judge(res.StatusCode)
	if f.State == stateOK && !token.Expiry.IsZero() {
		f.Detail += ", good until " + token.Expiry.UTC().Format(time.RFC3339)
	}
	f.Detail += known
}

// storedSessions checks the sessions that the bucket of definitions holds and
// the environment does not. Their secrets are looked for here, where the bridge
// may not run.
func (c *checker) storedSessions(ctx context.Context, client *client, config *config) {
	kv, err := client.js.KeyValue(ctx, client.names.Bucket(broker.Sessions))
	if err != nil {
		return // the check of the streams says so
	}
	watch, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		c.add(finding{"sessions", stateFailed, "reading the definitions: " + err.Error(), ""})
		return
	}
	for entry := range watch.Updates() {
		if entry == nil {
			break // the rest is changes
		}
		if slices.ContainsFunc(config.Sessions, func(d bridge.Definition) bool { return d.ID == entry.Key() }) {
			continue // it says only whether the session is paused
		}
		d, err := app.ParseDefinition(entry.Key(), entry.Value())
		switch {
		case err != nil:
			c.add(finding{"session " + printable(entry.Key()), stateFailed, err.Error(), "store a correct definition"})
		case d.Platform == "":
			c.add(finding{"session " + d.ID, stateOK, "defined by the bridge's environment" + client.lastState(ctx, d.ID), ""})
		case d.Paused:
			c.add(finding{"session " + d.ID, stateOK, "paused", ""})
		default:
			c.session(ctx, client, config, &d)
		}
	}
	if err := watch.Stop(); err != nil {
		c.add(finding{"sessions", stateWarning, "closing the reader of definitions: " + err.Error(), ""})
	}
}

// fetchToken gets an access token as the session would.
func fetchToken(ctx context.Context, d *bridge.Definition, insecure bool) (auth.Token, error) {
	if d.Token != "" {
		value, err := auth.Resolve(string(d.Token))
		return auth.Token{AccessToken: value}, err
	}
	if d.RefreshToken != "" {
		return auth.Token{}, errNotSpent
	}
	secret, err := auth.Resolve(string(d.ClientSecret))
	if err != nil {
		return auth.Token{}, err
	}
	source, err := auth.NewClientCredentials(auth.Config{
		TokenURL: d.TokenURL, ClientID: d.ClientID, ClientSecret: secret, Scopes: d.Scopes, AllowInsecure: insecure,
	})
	if err != nil {
		return auth.Token{}, err
	}
	return source.Token(ctx)
}

// probe is a request that shows whether the platform is there and takes the
// token. It is no WebSocket handshake: a second connection would end the
// session's own.
func probe(ctx context.Context, d *bridge.Definition, token auth.Token) (*http.Request, error) {
	// ws becomes http, wss https.
	address := "http" + strings.TrimPrefix(strings.ReplaceAll(d.URL, "{session}", url.PathEscape(d.ID)), "ws")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	return req, nil
}

// judge says what the status of an answer to a probe means.
func judge(status int) (state, detail, remedy string) {
	word := fmt.Sprintf("%d %s", status, http.StatusText(status))
	switch {
	case status == http.StatusUnauthorized:
		return stateFailed, "the platform refuses the token: " + word, "get a new token, or check the client's id and secret"
	case status == http.StatusForbidden:
		return stateFailed, "the token lacks permission: " + word, "grant whatsapp_business_messaging to it, for this number"
	case status == http.StatusNotFound:
		return stateFailed, "the platform does not know the session: " + word, "check the session's address and id"
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return stateWarning, "the platform is there, but says " + word, "try again later"
	default:
		// A Chat API answers what is no handshake with 400 or 426.
		return stateOK, "token and connection", ""
	}
}

// lastState says what the bridge last told of a session; "" where it told
// nothing or cannot be asked.
func (c *client) lastState(ctx context.Context, session string) string {
	if c == nil {
		return ""
	}
	kv, err := c.js.KeyValue(ctx, c.names.Bucket(broker.State))
	if err != nil {
		return "" // the check of the streams says so
	}
	entry, err := kv.Get(ctx, "state."+session)
	if err != nil {
		return ""
	}
	var last struct {
		State  bridge.State `json:"state"`
		Reason string       `json:"reason"`
		At     time.Time    `json:"at"`
	}
	if err := json.Unmarshal(entry.Value(), &last); err != nil {
		return ""
	}
	text := fmt.Sprintf("; the bridge says %s since %s", last.State, last.At.UTC().Format(time.RFC3339))
	if last.Reason != "" {
		text += " (" + last.Reason + ")"
	}
	return text
}
