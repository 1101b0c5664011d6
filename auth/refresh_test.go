package auth

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefreshTokenRotates(t *testing.T) {
	server := newOAuthServer(t)
	source := mustSource(t)(NewRefreshToken(server.config(), "refresh-0", nil))
	for _, want := range []string{"access-1", "access-2", "access-3"} {
		token, err := source.Token(t.Context())
		if err != nil || token.AccessToken != want {
			t.Fatalf("got %v, %v", token, err)
		}
		source.Invalidate(token.AccessToken)
	}
}

func TestReplicasDoNotBurnEachOthersToken(t *testing.T) {
	for _, rotate := range []bool{true, false} {
		server := newOAuthServer(t)
		server.rotate = rotate
		keeper := &MemoryKeeper{}
		var wg sync.WaitGroup
		for range 8 {
			source := mustSource(t)(NewRefreshToken(server.config(), "refresh-0", keeper))
			wg.Go(func() {
				if _, err := source.Token(t.Context()); err != nil {
					t.Errorf("rotate %v: %v", rotate, err)
				}
			})
		}
		wg.Wait()
		kept, _, err := keeper.Load(t.Context())
		if err != nil || kept != server.current || server.revoked {
			t.Errorf("kept %q, the server's is %q, revoked %v, %v", kept, server.current, server.revoked, err)
		}
	}
}

func TestNewLoginReplacesARefusedToken(t *testing.T) {
	server := newOAuthServer(t)
	keeper := &MemoryKeeper{}
	if _, err := keeper.Save(t.Context(), "refresh-burned", 0); err != nil {
		t.Fatal(err)
	}
	server.revoked = false
	source := mustSource(t)(NewRefreshToken(server.config(), "refresh-0", keeper))
	_, err := source.Token(t.Context())
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("a revoked family: %v", err)
	}
	noSecret(t, err.Error(), "refresh-burned", clientSecret)

	server.mu.Lock()
	server.revoked, server.current = false, "refresh-burned"
	server.mu.Unlock()
	if _, err := source.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, _, err := keeper.Load(t.Context()); err != nil || kept != server.current {
		t.Errorf("kept %q, want %q: %v", kept, server.current, err)
	}
}

func TestNothingToRefreshWith(t *testing.T) {
	server := newOAuthServer(t)
	source := mustSource(t)(NewRefreshToken(server.config(), "", &MemoryKeeper{}))
	if _, err := source.Token(t.Context()); !errors.Is(err, ErrRefused) || server.count() != 0 {
		t.Errorf("got %v after %d requests", err, server.count())
	}
}

// TestAbandonedClaim shows that a claim of a replica that died is taken over,
// and not before.
func TestAbandonedClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keeper := &MemoryKeeper{}
		if _, err := keeper.Save(t.Context(), claimMark+"refresh-0", 0); err != nil {
			t.Fatal(err)
		}
		r := &refreshing{keeper: keeper}
		start := time.Now()
		token, revision, err := r.claim(t.Context())
		if err != nil || token != "refresh-0" || revision != 2 {
			t.Fatalf("claimed %q at %d: %v", token, revision, err)
		}
		if waited := time.Since(start); waited < claimTime || waited > claimTime+2*claimPoll {
			t.Errorf("waited %v, want %v", waited, claimTime)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := (&refreshing{keeper: keeper}).claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a claim that stands: %v", err)
		}
	})
}

// failingKeeper refuses saves while broken.
type failingKeeper struct {
	MemoryKeeper
	saves, failFrom, failTo int
}

func (k *failingKeeper) Save(ctx context.Context, token string, revision uint64) (uint64, error) {
	k.saves++
	if k.saves >= k.failFrom && k.saves < k.failTo {
		return 0, errors.New("store is away")
	}
	return k.MemoryKeeper.Save(ctx, token, revision)
}

func TestNewRefreshTokenSurvivesAStoreThatIsAway(t *testing.T) {
	server := newOAuthServer(t)
	keeper := &failingKeeper{failFrom: 2, failTo: 2 + saveTries}
	source := mustSource(t)(NewRefreshToken(server.config(), "refresh-0", keeper))
	token, err := source.Token(t.Context())
	if err != nil || token.AccessToken != "access-1" {
		t.Fatalf("while the store is away: %v, %v", token, err)
	}
	source.Invalidate(token.AccessToken)
	if token, err = source.Token(t.Context()); err != nil || token.AccessToken != "access-2" {
		t.Fatalf("once it is back: %v, %v", token, err)
	}
	if kept, _, err := keeper.Load(t.Context()); err != nil || kept != server.current {
		t.Errorf("kept %q, want %q: %v", kept, server.current, err)
	}
}
