package cloudapi

import (
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	gateMost  = 2048 // requests that wait for one session's store
	gateStart = 512
	gateLeast = 16
	// slowShare of the time that a request may take is what storing should take.
	slowShare = 4
)

// errBehind: as many requests wait for the session's store as it can do in time.
var errBehind = errors.New("storing is behind")

// gates bound how many requests wait for the store of each session, by what it
// can do. A store that is slower than Meta posts would otherwise fall behind by
// more than a request may wait: each would be answered with 503 after its parts
// were taken, come again, and be stored once more for nothing, until hardly
// anything is stored but repeats. What is refused at once costs nothing.
type gates struct {
	mu sync.Mutex
	of map[string]*gate // by session; none is one that begins
}

// gate is one session's: its limit grows by each quick request and is halved by
// a slow one, once for all that were under way.
type gate struct {
	open    int
	limit   int
	lowered time.Time
}

// enter lets a request in that is for these sessions; false where one is behind.
func (g *gates) enter(sessions []string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, session := range sessions {
		if at := g.of[session]; at != nil && at.open >= at.limit {
			return false
		}
	}
	for _, session := range sessions {
		at := g.of[session]
		if at == nil {
			at = &gate{limit: gateStart}
			g.of[session] = at
		}
		at.open++
	}
	return true
}

// pace is what a request says of its sessions' stores.
type pace uint8

const (
	paceUnknown pace = iota
	paceQuick
	paceSlow
)

// leave lets a request out that entered at begun.
func (g *gates) leave(sessions []string, begun time.Time, p pace) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, session := range sessions {
		at := g.of[session]
		switch {
		case p == paceQuick:
			at.limit = min(at.limit+1, gateMost)
		case p == paceSlow && begun.After(at.lowered):
			at.limit = max(min(at.limit, at.open)/2, gateLeast)
			at.lowered = time.Now()
		}
		if at.open--; at.open == 0 && at.limit >= gateStart {
			delete(g.of, session)
		}
	}
}

// sessions lists whom the parts of a request belong to, each once.
func (d *delivery) sessions() []string {
	var all []string
	for i := range d.parts {
		part := &d.parts[i]
		for _, route := range d.routes.find(part.PhoneNumberID, part.WABA, d.secret) {
			if !slices.Contains(all, route.Session) {
				all = append(all, route.Session)
			}
		}
	}
	return all
}
