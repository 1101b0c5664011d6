package broker

import (
	"testing"

	"wabridge/bridge"
)

// TestQueueKeepsOrder moves records through a queue at every length that makes it
// grow, turn round and drain.
func TestQueueKeepsOrder(t *testing.T) {
	for _, longest := range []int{1, 2, leastQueue - 1, leastQueue, leastQueue + 1, 3 * leastQueue, 1000} {
		s := &Store{broker: &Broker{config: Config{MaxRecords: 4096, MaxBytes: 1 << 20}}}
		in, out := 0, 0
		check := func() {
			t.Helper()
			for i, e := range s.queue {
				if e.size != out+i {
					t.Fatalf("longest %d: place %d holds %d, want %d", longest, i, e.size, out+i)
				}
			}
			if len(s.queue) != in-out || s.first != uint64(out) {
				t.Fatalf("longest %d: %d in the queue from %d on, want %d from %d on", longest, len(s.queue), s.first, in-out, out)
			}
		}
		for round := range 50 {
			for in-out < longest {
				s.push(entry{record: &bridge.Record{}, size: in})
				in++
			}
			check()
			leave := longest
			if round%10 != 9 {
				leave = (longest + 1) / 2
			}
			for i := range leave {
				s.queue[i].settle(bridge.Stored{})
			}
			s.leave()
			out += leave
			check()
			for i := range s.array[:cap(s.array)-cap(s.queue)] {
				if s.array[i].record != nil {
					t.Fatalf("longest %d: a record that left is still held", longest)
				}
			}
			s.ready = nil
		}
		if s.queue != nil || s.array != nil {
			t.Fatalf("longest %d: an empty queue keeps its array", longest)
		}
	}
}

// TestQueueMakesNoGarbage: a queue that is never empty and no longer than it was
// needs no memory.
func TestQueueMakesNoGarbage(t *testing.T) {
	s := &Store{broker: &Broker{config: Config{MaxRecords: 4096, MaxBytes: 1 << 20}}}
	r := &bridge.Record{}
	for range 100 {
		s.push(entry{record: r})
	}
	s.ready = make([]finished, 0, 8)
	if n := testing.AllocsPerRun(10_000, func() {
		s.push(entry{record: r})
		s.queue[0].settle(bridge.Stored{})
		s.leave()
		s.ready = s.ready[:0]
	}); n > 0 {
		t.Errorf("%v allocations for each record, want none", n)
	}
}
