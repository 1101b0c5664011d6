package ownership

import (
	"hash/fnv"
	"slices"
	"strconv"
)

// plan gives each shard to one of the replicas that are alive. Every replica
// keeps what it has up to its fair share, so that a replica that comes or goes
// moves its fair share and nothing else; what is left goes by rendezvous
// hashing to whoever has room. owners holds "" for a shard nobody alive owns.
// The result is the same wherever it is computed from the same input.
func plan(owners, alive []string) []string {
	placed := make([]string, len(owners))
	if len(alive) == 0 {
		return placed
	}
	alive = slices.Sorted(slices.Values(alive))
	held := make(map[string]int, len(alive))
	for _, o := range owners {
		held[o]++
	}
	base, extra := len(owners)/len(alive), len(owners)%len(alive)
	room := make(map[string]int, len(alive))
	// Who holds more than the base now has the first claim to one of the extras.
	for _, over := range []bool{true, false} {
		for _, id := range alive {
			if (held[id] > base) != over {
				continue
			}
			room[id] = base
			if extra > 0 {
				room[id]++
				extra--
			}
		}
	}
	for shard, o := range owners {
		if room[o] > 0 {
			placed[shard] = o
			room[o]--
		}
	}
	for shard := range placed {
		if placed[shard] != "" {
			continue
		}
		best, score := "", uint64(0)
		for _, id := range alive {
			if s := weight(id, shard); room[id] > 0 && (best == "" || s > score) {
				best, score = id, s
			}
		}
		placed[shard] = best
		room[best]--
	}
	return placed
}

// weight is the rendezvous weight of a replica for a shard.
func weight(id string, shard int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id + "/" + strconv.Itoa(shard))) // a hash never fails
	x := h.Sum64()
	// FNV's high bits depend little on the last bytes: mix them.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
