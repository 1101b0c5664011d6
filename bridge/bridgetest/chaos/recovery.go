package main

import (
	"slices"
	"sort"
	"time"
)

// recovery is how long it took after a fault until messages flowed again.
type recovery struct {
	kind string
	// first: something was stored, in both directions. fresh: something that
	// was sent after the fault was stored, in both directions, for every session.
	first, fresh time.Duration
	// No other fault was about until then.
	firstAlone, freshAlone bool
}

// passage is one message from end to end.
type passage struct{ released, stored time.Time }

// measure measures the recovery after every fault that something was sent
// after.
func measure(l *ledger, s *storm, load *load) []recovery {
	flows := flowsOf(l)
	end := time.Unix(0, load.ended.Load())
	var list []recovery
	for _, f := range s.faults {
		if f.over.IsZero() || f.mild || f.over.After(end.Add(-time.Second)) {
			continue
		}
		r := recovery{kind: f.name}
		known := true
		for _, direction := range flows {
			if len(direction) == 0 {
				continue
			}
			first := time.Duration(-1)
			for _, flow := range direction {
				a, b := after(flow, f.over)
				if a >= 0 && (first < 0 || a < first) {
					first = a
				}
				known = known && b >= 0
				r.fresh = max(r.fresh, b)
			}
			known = known && first >= 0
			r.first = max(r.first, first)
		}
		if !known {
			continue
		}
		r.firstAlone, r.freshAlone = s.alone(f, r.first), s.alone(f, r.fresh)
		list = append(list, r)
	}
	return list
}

// alone tells whether no other fault was about from the beginning of one until
// some time after its end.
func (s *storm) alone(f *fault, until time.Duration) bool {
	return !slices.ContainsFunc(s.faults, func(o *fault) bool {
		return o != f && !o.mild && !o.began.IsZero() && o.began.Before(f.over.Add(until)) && o.done.Add(time.Second).After(f.began)
	})
}

// flowsOf sorts what passed by direction and session, in the order of release.
func flowsOf(l *ledger) [2][][]passage {
	var flows [2][][]passage
	if len(l.commands) > 0 {
		flows[0] = make([][]passage, l.sessions)
	}
	if len(l.users[0]) > 0 {
		flows[1] = make([][]passage, l.sessions)
	}
	for i := range l.commands {
		c := &l.commands[i]
		if len(c.outcomes) > 0 && c.outcomes[0].word == "accepted" {
			s := l.session(i)
			flows[0][s] = append(flows[0][s], passage{c.released, c.outcomes[0].at})
		}
	}
	for s, list := range l.users {
		for _, u := range list {
			if u.count > 0 {
				flows[1][s] = append(flows[1][s], passage{u.released, u.at})
			}
		}
	}
	return flows
}

// after tells how long after a moment the first message was stored, and the
// first that was released after it; -1 where none was.
func after(flow []passage, moment time.Time) (first, fresh time.Duration) {
	first, fresh = -1, -1
	for _, p := range flow {
		if d := p.stored.Sub(moment); d >= 0 && (first < 0 || d < first) {
			first = d
		}
	}
	from := sort.Search(len(flow), func(i int) bool { return flow[i].released.After(moment) })
	for _, p := range flow[from:] {
		if d := p.stored.Sub(moment); fresh < 0 || d < fresh {
			fresh = d
		}
	}
	return first, fresh
}
