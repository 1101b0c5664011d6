package chatapi

import (
	"math/rand/v2"
	"time"
)

// backoff is the next of waits that double; zero before the first.
type backoff time.Duration

// bound returns the next wait, from least to most, and doubles.
func (b *backoff) bound(least, most time.Duration) time.Duration {
	bound := min(max(time.Duration(*b), least), most)
	*b = backoff(min(2*bound, most))
	return bound
}

// wait is bound and up to a tenth of it.
func (b *backoff) wait(least, most time.Duration) time.Duration {
	bound := b.bound(least, most)
	return bound + jitter(bound/10)
}

// spread draws the wait from 0 to bound, so that sessions that lost one platform
// together do not come back together.
func (b *backoff) spread(least, most time.Duration) time.Duration {
	return jitter(b.bound(least, most))
}

// jitter is a random part of most.
func jitter(most time.Duration) time.Duration { return rand.N(most + 1) }

// reset starts over.
func (b *backoff) reset() { *b = 0 }
