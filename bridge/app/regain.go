package app

import (
	"time"

	"wabridge/bridge"
)

// A session that is replaced stays away: a newer connection has its place. Where
// this replica still owns it, that connection was one of a replica that had been
// paused or cut off and did not know yet that it had lost the session. It is gone
// by the time that it knows, and then nobody would be connected: the owner takes
// the place back. Two deployments that share a session take it from each other,
// so the waits grow.
const (
	// regainLeast is longer than a replica takes to find out that it lost a shard.
	regainLeast = 3 * time.Second
	regainMost  = 5 * time.Minute
	// regained is how long a session holds its place until its waits start over.
	regained = 10 * time.Minute
)

// regains is when sessions that were replaced take their places back.
type regains map[string]*regain

type regain struct {
	wait time.Duration
	due  time.Time
	back time.Time // when it was sent back last; zero while it waits
}

// due takes the sessions that are replaced at now and returns those to be sent
// back.
func (r regains) due(now time.Time, replaced []string) (back []string) {
	away := make(map[string]bool, len(replaced))
	for _, id := range replaced {
		away[id] = true
		one := r[id]
		switch {
		case one == nil:
			r[id] = &regain{wait: regainLeast, due: now.Add(regainLeast)}
		case !one.back.IsZero(): // and it lost its place again
			one.wait = min(2*one.wait, regainMost)
			one.due, one.back = now.Add(one.wait), time.Time{}
		case !now.Before(one.due):
			one.back = now
			back = append(back, id)
		}
	}
	for id, one := range r {
		if !away[id] && (one.back.IsZero() || now.Sub(one.back) > regained) {
			delete(r, id) // it went elsewhere, someone resumed it, or it holds
		}
	}
	return back
}

// regain sends the sessions back whose place was taken though they are ours.
func (f *fleet) regain(now time.Time) {
	if !f.host.may() {
		return
	}
	for _, id := range f.regains.due(now, f.host.announcer.in(bridge.Replaced)) {
		if one := f.host.running(id); one != nil {
			f.host.log.Info("a session takes its place back", "session", id)
			one.platform.Resume()
		}
	}
}
