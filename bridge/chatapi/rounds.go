package chatapi

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// slots is how many wake-ups a round takes at most.
const slots = 60

// patienceWithOne is how long one guest may keep the others of its slot waiting: its
// platform may not read what is written to it.
const patienceWithOne = 50 * time.Millisecond

// rounds visits each of its guests once in a round. Those that share a slot are
// visited one behind the other, by one goroutine and at one wake-up: ten thousand
// timers, each with a goroutine, cost as much as the pings that they are for.
type rounds struct {
	slot  time.Duration // a slot's part of a round
	begun time.Time

	mu     sync.Mutex
	guests [slots][]guest
	count  int // of guests
	past   int // the slots that are over, since begun
	timer  *time.Timer
}

// guest is what rounds visits.
type guest interface {
	// visit may be called once more, before the first time and after leave.
	visit()
	seat() *seat
}

// seat is where a guest is in rounds, which guards it.
type seat struct{ slot, place int32 }

// newRounds returns rounds, one every round, that have no guests.
func newRounds(round time.Duration) *rounds {
	return &rounds{slot: max(round/slots, 1), begun: time.Now()}
}

// join has g visited, and returns when it is for the first time: at a random time
// within a round, so that guests which come together are not visited together.
func (r *rounds) join(g guest) (first time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.over(time.Now())
	if r.count == 0 {
		r.past = now
	}
	n := now + 1 + rand.N(slots)
	seat := g.seat()
	seat.slot = int32(n % slots)
	seat.place = int32(len(r.guests[seat.slot]))
	r.guests[seat.slot] = append(r.guests[seat.slot], g)
	r.count++
	r.arm()
	return r.end(n)
}

// leave has g visited no more.
func (r *rounds) leave(g guest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seat := g.seat()
	of := r.guests[seat.slot]
	last := len(of) - 1
	of[seat.place] = of[last]
	of[seat.place].seat().place = seat.place
	of[last] = nil
	r.guests[seat.slot] = of[:last]
	if r.count--; r.count == 0 {
		r.timer.Stop()
	}
}

// next is when a guest is visited after now that was to be at at.
func (r *rounds) next(at, now time.Time) time.Time {
	round := r.slot * slots
	return at.Add(round * (now.Sub(at)/round + 1))
}

// over is how many slots are over, and end when slot n is.
func (r *rounds) over(now time.Time) int    { return int(now.Sub(r.begun) / r.slot) }
func (r *rounds) end(n int) time.Time       { return r.begun.Add(time.Duration(n) * r.slot) }
func (r *rounds) of(n int) (guests []guest) { return r.guests[n%slots] }

// arm sets the timer to the next slot that has guests, of which there are some.
// r.mu is held.
func (r *rounds) arm() {
	n := r.past + 1
	for len(r.of(n)) == 0 {
		n++
	}
	wait := time.Until(r.end(n))
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.tick)
		return
	}
	r.timer.Reset(wait)
}

// tick visits whose time it is.
func (r *rounds) tick() {
	r.mu.Lock()
	now := r.over(time.Now())
	var due []guest
	for r.past = max(r.past, now-slots); r.past < now; {
		r.past++
		due = append(due, r.of(r.past)...)
	}
	if r.count > 0 {
		r.arm()
	}
	r.mu.Unlock()
	if len(due) > 0 {
		visitAll(due)
	}
}

// visitAll visits guests, one behind the other for as long as none takes long: then
// another goroutine goes on with those behind it. It returns once the guests that
// this goroutine has taken are done.
func visitAll(guests []guest) {
	var next atomic.Int64
	taken := make(chan struct{})
	end := sync.OnceFunc(func() { close(taken) })
	visit := func() {
		for i := next.Add(1) - 1; i < int64(len(guests)); i = next.Add(1) - 1 {
			guests[i].visit()
		}
		end()
	}
	go func() {
		late := time.NewTicker(patienceWithOne)
		defer late.Stop()
		for {
			select {
			case <-late.C:
				go visit()
			case <-taken:
				return
			}
		}
	}()
	visit()
}
