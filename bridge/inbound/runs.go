package inbound

import (
	"slices"
	"sort"
)

// runs are sequences, as ranges in order: what is stored of a session is one
// range, but for what a crash kept from being stored.
type runs []run

type run struct{ low, high uint64 }

// find returns the first range that ends at n or later, and whether n is in it.
func (r runs) find(n uint64) (i int, in bool) {
	i = sort.Search(len(r), func(i int) bool { return r[i].high >= n })
	return i, i < len(r) && r[i].low <= n
}

func (r runs) has(n uint64) bool {
	_, in := r.find(n)
	return in
}

func (r *runs) add(n uint64) {
	i, in := r.find(n)
	switch {
	case in:
	case i > 0 && (*r)[i-1].high+1 == n:
		(*r)[i-1].high = n
	default:
		*r = slices.Insert(*r, i, run{n, n})
	}
}

// after cuts off what follows n without a gap, and returns its end.
func (r *runs) after(n uint64) uint64 {
	for len(*r) > 0 && (*r)[0].low <= n+1 {
		n = max(n, (*r)[0].high)
		*r = (*r)[1:]
	}
	return n
}
