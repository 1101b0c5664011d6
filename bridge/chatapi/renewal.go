package chatapi

import (
	"context"
	"strconv"
	"time"

	"wabridge/auth"
	"wabridge/codec"
)

// renewAgain is how long after a failed renewal the next one is tried.
const renewAgain = 5 * time.Second

// renewal is what came of asking for a token.
type renewal struct {
	token auth.Token
	err   error
}

// startRenewal asks for a token beside the connection's own work.
func (l *link) startRenewal(linked context.Context) {
	l.renewing = true
	l.renew.Go(func() {
		token, err := l.tokens.Token(linked)
		l.renewal.Store(&renewal{token, err})
		l.kick()
	})
}

// renewed hands the platform the new token.
func (l *link) renewed(ctx context.Context, r *renewal) error {
	l.renewing = false
	now := time.Now()
	if r.err != nil {
		l.env.Metrics.renewal(ctx, false)
		l.env.Logger.Warn("renewing the token", "session", l.id(), "error", r.err.Error())
		l.renewAt = now.Add(renewAgain)
		return nil //nolint:nilerr // the connection lives as long as its token does
	}
	same := r.token.AccessToken == l.access
	l.access, l.renewAt = r.token.AccessToken, auth.RenewAt(r.token)
	if !l.renewAt.IsZero() && !l.renewAt.After(now) {
		l.renewAt = now.Add(settled)
	}
	if same {
		return nil // the source has no other yet
	}
	l.env.Metrics.renewal(ctx, true)
	l.readyBy, l.readied = now, l.ready.Load()
	return l.writeEvent(now, &codec.Event{
		ID: "token-" + strconv.FormatInt(now.UnixNano(), 36), Type: typeToken,
		Data: codec.AppendTokenData(nil, r.token.AccessToken),
	}, frameToken)
}
