// Package app wires the parts of wabridge into one service: it connects the
// broker, takes part among the replicas, runs the sessions of the shards that
// this replica owns, and ends them in order. It holds no rule of sending or
// storing; those are in outbound and inbound.
//
// New validates and builds, Run blocks, and its end is bounded: not ready, stop
// taking, finish what is in flight, close the sessions, release the shards,
// drain NATS, flush the spans.
package app
