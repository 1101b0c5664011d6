package chatapi

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// caller notes when it is visited, and may keep its visitor waiting.
type caller struct {
	sits    seat
	mu      sync.Mutex
	visited []time.Time
	keep    chan struct{} // nil: it does not
}

func (c *caller) seat() *seat { return &c.sits }

func (c *caller) visit() {
	c.mu.Lock()
	c.visited = append(c.visited, time.Now())
	c.mu.Unlock()
	if c.keep != nil {
		<-c.keep
	}
}

func (c *caller) visits() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.visited)
}

const aRound = 15 * time.Second

// Whoever comes, whenever, is visited once a round, at the times that it was told,
// until it leaves; those who come together, not together.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRounds(aRound)
		for range 3 { // with nobody there between
			callers := make([]*caller, 200)
			firsts := make([]time.Time, len(callers))
			for i := range callers {
				callers[i] = &caller{}
				firsts[i] = r.join(callers[i])
				if wait := time.Until(firsts[i]); wait <= 0 || wait > aRound {
					t.Fatalf("the first visit is in %v", wait)
				}
				if i == 100 {
					<-time.After(7 * time.Second)
				}
			}
			if together := len(slices.Compact(slices.SortedFunc(slices.Values(firsts), time.Time.Compare))); together < 30 {
				t.Errorf("%d callers are visited at %d moments", len(callers), together)
			}
			<-time.After(3*aRound + time.Millisecond/3)
			left := make([]time.Time, len(callers))
			for i, c := range callers[:50] {
				r.leave(c)
				left[i] = time.Now()
			}
			<-time.After(aRound)
			synctest.Wait()
			for i, c := range callers {
				if left[i].IsZero() {
					left[i] = time.Now()
				}
				var want []time.Time
				for at := firsts[i]; at.Before(left[i]); at = r.next(at, at) {
					want = append(want, at)
				}
				got := c.visits()
				if len(got) > 0 && got[0].Before(firsts[i]) {
					got = got[1:] // it came while the round was at its slot
				}
				if !slices.EqualFunc(got, want, time.Time.Equal) {
					t.Errorf("caller %d: visited at %v, want %v", i, got, want)
				}
			}
			for _, c := range callers[50:] {
				r.leave(c)
			}
			seen := len(callers[60].visits())
			<-time.After(2 * aRound)
			synctest.Wait()
			if n := len(callers[60].visits()); n != seen {
				t.Errorf("%d visits after it left", n-seen)
			}
		}
	})
}

// next leaves out what a process that stood still has missed.
func TestRoundsMissed(t *testing.T) {
	r := newRounds(aRound)
	at := r.begun.Add(time.Second)
	for _, test := range []struct{ now, want time.Duration }{
		{0, aRound}, {aRound - 1, aRound}, {aRound, 2 * aRound}, {time.Hour + 1, time.Hour + aRound},
	} {
		if got := r.next(at, at.Add(test.now)); got != at.Add(test.want) {
			t.Errorf("%v later: in %v, want %v", test.now, got.Sub(at), test.want)
		}
	}
}

// Whoever comes when a slot is over, and before its guests are visited, does not
// have them visited later.
func TestRoundsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRounds(aRound)
		first, second := &caller{}, &caller{}
		due := r.join(first)
		r.timer.Stop() // as one that is late
		<-time.After(time.Until(due) + time.Millisecond)
		r.join(second)
		synctest.Wait()
		if visits := first.visits(); len(visits) != 1 {
			t.Errorf("%d visits, want one", len(visits))
		}
		r.leave(first)
		r.leave(second)
	})
}

// Whoever keeps its visitor does not keep the others.
func TestRoundsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guests := make([]guest, 100)
		release := make(chan struct{})
		for i := range guests {
			c := &caller{}
			if i%10 == 0 {
				c.keep = release
			}
			guests[i] = c
		}
		began := time.Now()
		go visitAll(guests)
		<-time.After(10*patienceWithOne + patienceWithOne/2)
		synctest.Wait()
		for i, g := range guests {
			visits := g.(*caller).visits()
			if len(visits) != 1 {
				t.Fatalf("caller %d: %d visits", i, len(visits))
			}
			if waited := visits[0].Sub(began); waited > time.Duration((i+9)/10)*patienceWithOne {
				t.Errorf("caller %d waited %v", i, waited)
			}
		}
		close(release)
	})
}
