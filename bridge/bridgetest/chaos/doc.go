// Command chaos runs the built programs under load in both directions while
// processes are killed, connections cut, tokens revoked and sends refused, and
// then accounts for every message by its id: nothing lost, nothing doubled,
// nothing out of order within a conversation, one outcome for each command.
//
//	go run ./bridge/bridgetest/chaos -messages 60000 -faults 40 -seed 1
//
// It prints one table and exits with 0 only if everything holds. Faults are
// drawn from the seed: each kind as often as every other, at random moments.
// Processes and loads are as a seed makes them; what the scheduler does with
// them differs from run to run.
//
// world.go holds the processes and the links between them, faults.go what
// happens to them, load.go what is sent, collect.go what came out, check.go the
// verdict.
package main
