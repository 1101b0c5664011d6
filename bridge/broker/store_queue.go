package broker

import "sync"

// leastQueue is the room of a queue that begins.
const leastQueue = 8

// queues are the arrays that stores borrow while they hold records.
var queues sync.Pool //nolint:gochecknoglobals // holds no state; 10,000 idle stores share it

// push adds a record to the queue. It uses the room of those that left again
// before it takes more, so that a store that is never empty makes no garbage.
func (s *Store) push(e entry) {
	if len(s.queue) == cap(s.queue) {
		if 2*len(s.queue) > len(s.array) || len(s.array) == 0 {
			s.array = newArray(4 * len(s.queue))
		}
		n := copy(s.array, s.queue)
		clear(s.array[n:])
		s.queue = s.array[:n]
	}
	s.queue = append(s.queue, e)
}

// newArray is one with room for n records, or a few.
func newArray(n int) []entry {
	if n > leastQueue {
		return make([]entry, n)
	}
	if a, ok := queues.Get().(*[leastQueue]entry); ok {
		return a[:]
	}
	return make([]entry, leastQueue)
}

// drained gives the array of an empty queue, whose records are cleared, back.
func (s *Store) drained() {
	if len(s.array) == leastQueue {
		queues.Put((*[leastQueue]entry)(s.array))
	}
	s.queue, s.array = nil, nil
}
