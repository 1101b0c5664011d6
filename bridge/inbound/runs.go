package inbound

import (
	"slices"
	"sort"
)

// Runs are sequences, as ranges in order: what is stored of a session is one
// range, but for what a crash kept from being stored.
type Runs []Run

// Run is a range with both its ends.
type Run struct {
	Low  uint64 `json:"low"`
	High uint64 `json:"high"`
}

// find returns the first range that ends at n or later, and whether n is in it.
func (r Runs) find(n uint64) (i int, in bool) {
	i = sort.Search(len(r), func(i int) bool { return r[i].High >= n })
	return i, i < len(r) && r[i].Low <= n
}

func (r Runs) has(n uint64) bool {
	_, in := r.find(n)
	return in
}

func (r *Runs) add(n uint64) {
	i, in := r.find(n)
	switch {
	case in:
	case i > 0 && (*r)[i-1].High+1 == n:
		(*r)[i-1].High = n
	default:
		*r = slices.Insert(*r, i, Run{n, n})
	}
}

// after cuts off what ends at n or before, or follows n without a gap, and
// returns where that ends.
func (r *Runs) after(n uint64) uint64 {
	for len(*r) > 0 && (*r)[0].Low <= n+1 {
		n = max(n, (*r)[0].High)
		*r = (*r)[1:]
	}
	if len(*r) == 0 {
		*r = nil
	}
	return n
}
