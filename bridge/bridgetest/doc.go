// Package bridgetest is the kit that tests stand on: real nats-servers in the
// test's process, alone or as a cluster, and waiting for a condition. It knows
// nothing of the bridge, so that every part's tests can use it; package stack
// below it runs the whole.
package bridgetest
