// Package ownership decides which replica owns which shard. Replicas write
// heartbeats and claim shards by compare-and-set in one KV bucket; nothing else
// is shared. At most one replica may act for a shard at a time:
//
//   - A replica may act until Lease after it sent its last heartbeat that was
//     stored. After that it is frozen, and before it acts again it proves every
//     shard anew by compare-and-set.
//   - A replica is dead to another one that has seen no heartbeat of it for Dead,
//     counted up to the moment when the other sent a heartbeat that it has seen
//     come back on the same watch: what was stored before, it has seen.
//   - Dead is longer than Lease, so who is dead to others is frozen.
//
// While JetStream takes no writes nobody's heartbeat comes back, so nobody is
// dead and no shard moves. Nor when it takes writes again: a replica whose own
// heartbeats had ceased to come back counts the silence of others from then on.
//
// core is the state machine, without clock or I/O; Member runs it.
package ownership
