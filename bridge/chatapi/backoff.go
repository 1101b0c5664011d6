package chatapi

import (
	"math/rand/v2"
	"time"
)

// backoff is a wait that doubles from least to most.
type backoff struct {
	least, most time.Duration
	// full draws each wait from 0 to its bound, so that sessions that lost one
	// platform together do not come back together; otherwise a tenth is drawn.
	full bool
	next time.Duration
}

// wait returns how long to wait now, and doubles.
func (b *backoff) wait() time.Duration {
	bound := min(max(b.next, b.least), b.most)
	b.next = min(2*bound, b.most)
	if b.full {
		return jitter(bound)
	}
	return bound + jitter(bound/10)
}

// jitter is a random part of most.
func jitter(most time.Duration) time.Duration { return rand.N(most + 1) }

// reset starts over.
func (b *backoff) reset() { b.next = 0 }
