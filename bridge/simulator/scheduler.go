package simulator

import (
	"container/heap"
	"sync"
	"time"
)

// scheduler runs functions at their time, in order of time, with the
// simulator's lock held.
type scheduler struct {
	mu   *sync.Mutex
	wake chan struct{}
	due  dueHeap
	seq  uint64
}

type dueItem struct {
	at  time.Time
	seq uint64
	fn  func()
}

func newScheduler(mu *sync.Mutex) *scheduler {
	return &scheduler{mu: mu, wake: make(chan struct{}, 1)}
}

// after runs fn in d, or now where d is 0. Call it with mu held.
func (s *scheduler) after(d time.Duration, fn func()) {
	if d <= 0 {
		fn()
		return
	}
	s.seq++
	item := dueItem{at: time.Now().Add(d), seq: s.seq, fn: fn}
	heap.Push(&s.due, item)
	if s.due[0].seq == item.seq {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// batch bounds how many functions run under one hold of the lock.
const batch = 64

func (s *scheduler) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.mu.Lock()
		wait := time.Hour
		now := time.Now()
		for n := 0; len(s.due) > 0; n++ {
			if wait = s.due[0].at.Sub(now); wait > 0 || n == batch {
				break
			}
			wait = time.Hour
			heap.Pop(&s.due).(dueItem).fn()
		}
		s.mu.Unlock()
		timer.Reset(max(wait, 0))
		select {
		case <-stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// dueHeap is a heap.Interface.
type dueHeap []dueItem

func (h dueHeap) Len() int { return len(h) }

func (h dueHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}

func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueItem)) }

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	item := old[len(old)-1]
	old[len(old)-1] = dueItem{}
	*h = old[:len(old)-1]
	return item
}
