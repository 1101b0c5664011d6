package auth

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// hidden stands where a token would be printed.
const hidden = "[hidden]"

// A token is renewed when a fifth of its life is left, at most maxLead before
// its end, and up to maxJitter sooner, so that sessions that started together
// do not renew together.
const (
	maxLead   = 5 * time.Minute
	maxJitter = time.Minute
)

// Token is an access token. However it is printed, logged or marshalled, the
// token itself stays hidden; only AccessToken gives it.
type Token struct {
	AccessToken string
	// Expiry is when the token ends; zero where that is not known.
	Expiry time.Time
	// Scopes are what the token grants; nil where that is not known.
	Scopes []string

	renewAt time.Time
}

// newToken returns a token issued now, with the moment of its renewal drawn.
func newToken(access string, now, expiry time.Time, scopes []string) Token {
	t := Token{AccessToken: access, Expiry: expiry, Scopes: scopes}
	if life := expiry.Sub(now); !expiry.IsZero() {
		lead := min(life/5, maxLead) + jitter(min(life/10, maxJitter))
		t.renewAt = expiry.Add(-lead)
	}
	return t
}

// jitter returns a random part of most.
func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}

// RenewAt is when to ask the source again for a token that is in use on a live
// connection: before Expiry where there is one. Zero means never. The source
// may then answer with the same token, where it has no other; that one carries
// the next moment to ask.
func RenewAt(t Token) time.Time {
	if t.renewAt.IsZero() {
		return t.Expiry
	}
	return t.renewAt
}

// String hides the token and says when it ends.
func (t Token) String() string {
	if t.Expiry.IsZero() {
		return "token " + hidden
	}
	return "token " + hidden + " until " + t.Expiry.UTC().Format(time.RFC3339)
}

// Format prints String whatever the verb, so that %#v and %+v hide as well.
func (t Token) Format(f fmt.State, _ rune) {
	// fmt.State has nowhere to report a failed write to.
	_, _ = f.Write([]byte(t.String()))
}

// LogValue is what slog writes.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalJSON writes String as a JSON string: a Token is never stored this way.
func (t Token) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// Source gives access tokens. Its methods are safe for concurrent use.
type Source interface {
	// Token returns a token that is not known to be refused or at its end. It
	// blocks while one is fetched, until ctx ends; callers share one fetch, and
	// one caller's ctx ending does not end it for the others. Errors are
	// ErrRefused, ErrForbidden, or else worth another try.
	Token(ctx context.Context) (Token, error)
	// Invalidate says that a platform refused token. The next call of Token
	// fetches another, unless the source holds another already.
	Invalidate(token string)
}
