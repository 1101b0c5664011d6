package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// kind is one kind of fault.
type kind struct {
	name, about string
	// lane: faults of one lane follow each other, those of different lanes
	// overlap as they come.
	lane string
	// suits tells whether it makes sense with what runs; nil is always.
	suits func(o *options) bool
	// mild ones stop nothing from flowing: they leave the recovery of others as
	// it is.
	mild bool
	// strike does it and returns once it is over; what it says is for people.
	strike func(ctx context.Context, w *world, f *fault) error
}

// fault is one fault of a run.
type fault struct {
	kind
	n    int
	at   time.Duration // planned, since the load began
	rand *rand.Rand

	mu    sync.Mutex
	what  string
	began time.Time
	over  time.Time // from here on the recovery is counted
	done  time.Time // everything is as before
	err   error
}

// note says what exactly happens.
func (f *fault) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.what = what
}

// ends marks the moment from which on the recovery counts; the end of strike
// where it is not called.
func (f *fault) ends() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = time.Now()
}

// between draws a duration.
func (f *fault) between(least, most time.Duration) time.Duration {
	return least + time.Duration(f.rand.Int64N(int64(most-least)))
}

// storm is every fault of a run, in order.
type storm struct {
	w      *world
	faults []*fault
	began  atomic.Int64
}

// newStorm draws the faults from the seed: every kind as often as every other,
// in an order and at moments that are random.
func newStorm(w *world, o *options) *storm {
	s := &storm{w: w}
	draw := rand.New(rand.NewPCG(o.seed, 0))
	span := time.Duration(float64(o.messages) / float64(o.rate) * float64(time.Second))
	var deck []kind
	for n := range o.faults {
		if len(deck) == 0 {
			deck = o.kinds()
			draw.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		at := (float64(n) + draw.Float64()) / float64(o.faults+1)
		s.faults = append(s.faults, &fault{
			kind: deck[0], n: n + 1, at: time.Duration(at * float64(span)), rand: rand.New(rand.NewPCG(o.seed, uint64(n)+1)),
		})
		deck = deck[1:]
	}
	return s
}

// progress is the part of the faults that has begun.
func (s *storm) progress() float64 {
	return float64(s.began.Load()+1) / float64(len(s.faults)+1)
}

// run lets every fault happen in its time and returns once all are over.
func (s *storm) run(ctx context.Context) {
	lanes := map[string]chan *fault{}
	var work sync.WaitGroup
	for _, f := range s.faults {
		if lanes[f.lane] == nil {
			lane := make(chan *fault, len(s.faults))
			lanes[f.lane] = lane
			work.Go(func() {
				for f := range lane {
					s.strike(ctx, f)
				}
			})
		}
	}
	begun := time.Now()
	for _, f := range s.faults {
		if !await(ctx, time.Until(begun.Add(f.at))) {
			break
		}
		lanes[f.lane] <- f // there is room for all
	}
	for _, lane := range lanes {
		close(lane)
	}
	work.Wait()
}

func (s *storm) strike(ctx context.Context, f *fault) {
	f.mu.Lock()
	f.began = time.Now()
	f.mu.Unlock()
	s.began.Add(1)
	err := f.strike(ctx, s.w, f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done, f.err = time.Now(), err
	if f.over.IsZero() {
		f.over = f.done
	}
	if err != nil && ctx.Err() == nil {
		s.w.log.printf("fault %d %s %s failed: %v", f.n, f.name, f.what, err)
		return
	}
	s.w.log.printf("fault %d %s %s, from %.3fs, for %.3fs", f.n, f.name, f.what, f.began.Sub(s.w.began).Seconds(), f.done.Sub(f.began).Seconds())
}

// explains tells whether a send that was answered may come again at a moment:
// something that can lose an answer or an ack happened since then.
func (s *storm) explains(answered, again time.Time) bool {
	for _, f := range s.faults {
		if !f.mild && !f.began.IsZero() && f.began.Before(again) && f.done.Add(settle).After(answered) {
			return true
		}
	}
	return false
}

// settle is how long the consequences of a fault last: a reconnect after a
// send that was not answered for 30 s.
const settle = 35 * time.Second
