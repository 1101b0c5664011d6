package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

const (
	// claimMark before a kept refresh token says that a replica is exchanging
	// it. No token holds a line feed (RFC 6749 appendix A.17).
	claimMark = "claimed\n"
	// claimTime is how long another's claim is respected once seen: longer than
	// an exchange takes. Whoever made it is gone after that.
	claimTime = 2 * httpTimeout
	// claimPoll is how often a claimed token is looked at again.
	claimPoll = 250 * time.Millisecond
	// saveTries bounds how often the new refresh token is written.
	saveTries = 3
)

// Keeper holds one session's refresh token where every replica finds it. What
// it keeps is to be treated as opaque, and as a secret.
type Keeper interface {
	// Load returns what was saved last and its revision: "" and 0 where nothing
	// was. It blocks until the store answers or ctx ends.
	Load(ctx context.Context) (refreshToken string, revision uint64, err error)
	// Save stores over revision (0: over nothing) and returns the new one, or
	// ErrConflict where another revision stands.
	Save(ctx context.Context, refreshToken string, revision uint64) (uint64, error)
}

// MemoryKeeper is a Keeper for one process. Its zero value holds nothing.
type MemoryKeeper struct {
	mu       sync.Mutex
	token    string
	revision uint64
}

// Load implements Keeper.
func (k *MemoryKeeper) Load(context.Context) (string, uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.token, k.revision, nil
}

// Save implements Keeper.
func (k *MemoryKeeper) Save(_ context.Context, refreshToken string, revision uint64) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if revision != k.revision {
		return 0, ErrConflict
	}
	k.token, k.revision = refreshToken, k.revision+1
	return k.revision, nil
}

// refreshing exchanges a refresh token that may change with every exchange.
//
// A server that rotates takes a second use of one refresh token for theft and
// revokes them all. So a replica claims the kept token by compare-and-set
// before it exchanges it, and writes what it got over its claim; the others
// wait for that.
type refreshing struct {
	config  *Config
	grant   *oauth2.Config
	initial string // from the configuration
	keeper  Keeper

	// Of a claim of ours that could not be ended, as the keeper was away: its
	// revision, and what is to be kept. One fetch at a time uses them.
	open    uint64
	unsaved string
}

// NewRefreshToken returns a source that uses the refresh token grant. initial
// is used while keeper holds nothing, and where what it holds is refused (an
// operator has logged in again); keeper may be nil in a process without
// replicas.
func NewRefreshToken(c Config, initial string, keeper Keeper) (Source, error) {
	p, err := c.prepared()
	if initial == "" && keeper == nil {
		err = errors.Join(err, errors.New("refresh token: missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("refresh token: %w", err)
	}
	if keeper == nil {
		keeper = &MemoryKeeper{}
	}
	r := &refreshing{
		config: p,
		grant: &oauth2.Config{
			ClientID: p.ClientID, ClientSecret: p.ClientSecret,
			Endpoint: oauth2.Endpoint{TokenURL: p.TokenURL, AuthStyle: p.style()},
		},
		initial: initial,
		keeper:  keeper,
	}
	return p.renewing(r.fetch), nil
}

// fetch claims the refresh token, exchanges it, and keeps what came with it.
func (r *refreshing) fetch(ctx context.Context) (Token, error) {
	kept, revision, err := r.claim(ctx)
	if err != nil {
		return Token{}, err
	}
	token, next, err := r.exchange(ctx, kept)
	if errors.Is(err, ErrRefused) && r.initial != "" && r.initial != kept {
		token, next, err = r.exchange(ctx, r.initial)
	}
	if err != nil {
		next = kept
	}
	r.open, r.unsaved = 0, ""
	if r.save(ctx, next, revision) != nil {
		// The access token is good all the same; the next fetch goes on from here.
		r.open, r.unsaved = revision, next
	}
	return token, err
}

// claim waits until no other replica is exchanging the refresh token, marks it
// as being exchanged, and returns it.
func (r *refreshing) claim(ctx context.Context) (string, uint64, error) {
	var seen uint64 // the revision of a claim that is waited for
	var since time.Time
	for {
		kept, revision, err := r.keeper.Load(ctx)
		if err != nil {
			return "", 0, fmt.Errorf("loading the refresh token: %w", err)
		}
		token, claimed := strings.CutPrefix(kept, claimMark)
		switch {
		case claimed && revision == r.open:
			token, claimed = r.unsaved, false
		case claimed && revision != seen:
			seen, since = revision, time.Now()
		}
		if !claimed || time.Since(since) >= claimTime {
			if token == "" {
				token = r.initial
			}
			if token == "" {
				return "", 0, fmt.Errorf("no refresh token is kept or configured: %w", ErrRefused)
			}
			revision, err = r.keeper.Save(ctx, claimMark+token, revision)
			if err == nil {
				return token, revision, nil
			}
			if !errors.Is(err, ErrConflict) {
				return "", 0, fmt.Errorf("claiming the refresh token: %w", err)
			}
		}
		if err := pause(ctx, claimPoll/2+jitter(claimPoll)); err != nil {
			return "", 0, fmt.Errorf("waiting for another replica's refresh: %w", err)
		}
	}
}

// exchange returns an access token and the refresh token to use next.
func (r *refreshing) exchange(ctx context.Context, refreshToken string) (Token, string, error) {
	now := time.Now()
	answer, err := r.grant.TokenSource(r.config.with(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return Token{}, "", scrub(err)
	}
	token, err := r.config.token(answer, now)
	return token, answer.RefreshToken, err
}

// save ends the claim of revision by keeping refreshToken. Losing it would lock
// the session out, so it is tried several times.
func (r *refreshing) save(ctx context.Context, refreshToken string, revision uint64) error {
	for try := 1; ; try++ {
		_, err := r.keeper.Save(ctx, refreshToken, revision)
		if err == nil || errors.Is(err, ErrConflict) {
			// A conflict: either an earlier try whose answer was lost, or someone
			// who took this claim for abandoned, and then theirs is the newer one.
			return nil
		}
		if try == saveTries || pause(ctx, time.Duration(try)*claimPoll) != nil {
			return fmt.Errorf("keeping the refresh token: %w", err)
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
