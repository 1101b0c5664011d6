package app

import (
	"context"
	"runtime/debug"
	sampled "runtime/metrics"
	"time"
)

const (
	// headroom is how much garbage may gather before it is collected. Go lets as
	// much gather as is in use: with ten thousand sessions, which only wait, that
	// would double what they cost.
	headroom = 48 << 20
	// leastPercent bounds what collecting costs, where very much is in use.
	leastPercent = 25
	// usualPercent is Go's own: whoever runs the service with another has chosen.
	usualPercent = 100
)

// keepHeadroom has Go collect garbage by headroom, until ctx ends.
func keepHeadroom(ctx context.Context) {
	samples := []sampled.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	sampled.Read(samples)
	if samples[0].Value.Uint64() != usualPercent {
		return
	}
	defer debug.SetGCPercent(usualPercent)
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
		percent := headroomPercent(samples[1].Value.Uint64() + samples[2].Value.Uint64())
		// Setting it stops everything for a moment.
		if percent*10 < now*9 || percent*10 > now*11 {
			debug.SetGCPercent(percent)
			now = percent
		}
	}
}

// headroomPercent is the headroom as GOGC counts it: of what is in use.
func headroomPercent(used uint64) int {
	if used == 0 {
		return usualPercent
	}
	return int(min(max(headroom*100/used, leastPercent), usualPercent))
}
