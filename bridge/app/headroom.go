package app

import (
	"context"
	"runtime/debug"
	sampled "runtime/metrics"
	"time"
)

// Headroom is how much garbage may gather before it is collected. Go lets as much
// gather as is in use: with ten thousand sessions, which only wait, that would
// double what they cost. But what is collected often, costs time.
const (
	// calmRoom is for a process in which collections are rare, busyRoom for
	// another one.
	calmRoom = 12 << 20
	busyRoom = 24 << 20
	// calmAfter is how many seconds without a collection make it calm; busyAfter
	// how many with more than one each make it busy.
	calmAfter, busyAfter = 5, 3
	// leastPercent bounds what collecting costs, where very much is in use.
	leastPercent = 15
	// usualPercent is Go's own: whoever runs the service with another has chosen.
	usualPercent = 100
)

// headroom follows how busy the process is. It begins busy.
type headroom struct {
	calm           bool
	quiet, crowded int    // seconds in a row without, and with many collections
	collections    uint64 // so far
}

// keepHeadroom has Go collect garbage by headroom, until ctx ends.
func keepHeadroom(ctx context.Context) {
	samples := []sampled.Sample{
		{Name: "/gc/gogc:percent"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	sampled.Read(samples)
	if samples[0].Value.Uint64() != usualPercent {
		return
	}
	defer debug.SetGCPercent(usualPercent)
	h := headroom{collections: samples[3].Value.Uint64()}
	now := usualPercent
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		sampled.Read(samples)
		if h.second(samples[3].Value.Uint64()) {
			debug.FreeOSMemory() // what the busy time took, connecting above all
		}
		percent := h.percent(samples[1].Value.Uint64() + samples[2].Value.Uint64())
		// Setting it stops everything for a moment.
		if percent*10 < now*9 || percent*10 > now*11 {
			debug.SetGCPercent(percent)
			now = percent
		}
	}
}

// second takes how many collections there were until now, a second after the last
// time. It reports whether that makes the process calm.
func (h *headroom) second(collections uint64) (calmed bool) {
	during := collections - h.collections
	h.collections = collections
	if during == 0 {
		h.quiet++
	} else {
		h.quiet = 0
	}
	if during > 1 {
		h.crowded++
	} else {
		h.crowded = 0
	}
	switch {
	case h.quiet >= calmAfter:
		calmed = !h.calm
		h.calm = true
	case h.crowded >= busyAfter:
		h.calm = false
	}
	return calmed
}

// percent is the headroom as GOGC counts it: of what is in use.
func (h *headroom) percent(used uint64) int {
	room := uint64(busyRoom)
	if h.calm {
		room = calmRoom
	}
	if used == 0 {
		return usualPercent
	}
	return int(min(max(room*100/used, leastPercent), usualPercent))
}
