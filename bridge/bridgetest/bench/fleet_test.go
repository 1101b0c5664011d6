package bench

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	fleetSessions = flag.Int("fleet.sessions", 1000, "sessions over three replicas")
	fleetRate     = flag.Int("fleet.rate", 500, "messages a second each way, over all sessions")
	fleetRounds   = flag.Int("fleet.rounds", 3, "times that each replica and each NATS leader is ended")
	fleetNodes    = flag.String("fleet.nats", "1,3", "numbers of nats-servers to measure with")
	fleetLogs     = flag.String("fleet.logs", "", "directory for what the replicas log, in detail")
)

// Targets, for the table.
const (
	killTarget      = 2 * time.Second // up to 1,000 sessions
	largeKillTarget = 4 * time.Second
	termTarget      = 500 * time.Millisecond
)

// BenchmarkFleet prints how long sessions are without a socket, as the platform
// sees it, while three replicas share them under load: when a replica is killed
// (from the kill on), when one is terminated, when one comes; and what a killed
// NATS leader does to them. Nothing may be lost or sent twice meanwhile.
func BenchmarkFleet(b *testing.B) {
	for text := range strings.SplitSeq(*fleetNodes, ",") {
		b.Run("nats="+text, func(b *testing.B) {
			n, err := strconv.Atoi(text)
			check(b, err)
			newFleet(b, n).measure()
			b.ReportMetric(0, "ns/op")
		})
	}
}

// settle waits until every session is connected, the shards are shared evenly
// and nothing has moved for a while. It returns what moved meanwhile.
func (f *fleet) settle(what string) []move {
	f.tb.Helper()
	var moves []move
	var still time.Time
	for end := time.Now().Add(2 * time.Minute); ; <-time.After(50 * time.Millisecond) {
		now := f.look("")
		moves = append(moves, now.Moves...)
		if len(now.Moves) > 0 || now.Connected != *fleetSessions || still.IsZero() {
			still = time.Now()
		}
		if time.Since(still) > 1500*time.Millisecond && f.even() {
			return moves
		}
		if time.Now().After(end) {
			f.tb.Fatalf("%s: not settled within two minutes: %d of %d sessions connected, owners %v",
				what, now.Connected, *fleetSessions, f.owners())
		}
	}
}

func (f *fleet) measure() {
	ctx := f.tb.Context()
	for {
		if _, err := f.client.look(ctx, ""); err == nil {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	names := []string{"r0", "r1", "r2"}
	begun := time.Now()
	for _, name := range names {
		f.launch(name)
	}
	up := f.settle("start")
	f.note("start", begun, firsts(up, begun), up, 0)

	loaded, stop := context.WithCancel(ctx)
	var load sync.WaitGroup
	load.Go(func() { f.publish(loaded) })
	check(f.tb, f.client.load(ctx, *fleetRate))
	<-time.After(3 * time.Second)

	target := killTarget
	if *fleetSessions > 1000 {
		target = largeKillTarget
	}
	for i := range *fleetRounds {
		f.end(names[i%3], "kill -9", syscall.SIGKILL, target)
		f.end(names[(i+1)%3], "SIGTERM", syscall.SIGTERM, termTarget)
	}
	if len(f.nodes) > 1 {
		var moved, closed int
		for i := range *fleetRounds {
			f.killLeader([]string{"KV_wa_owners", "WA_RECV", "WA_SEND"}[i%3], &moved, &closed)
		}
		fmt.Fprintf(&f.lines, "NATS leader killed %d times: shards moved %d, sockets closed %d; targets 0 and 0\n", *fleetRounds, moved, closed)
	}
	check(f.tb, f.client.load(ctx, 0))
	stop()
	load.Wait()
	f.complete()
	table := fmt.Sprintf("%-18s %9s %9s %9s %9s %9s\n", "ms without a socket", "sessions", "p50", "p100", "serving", "target")
	for _, r := range f.rows {
		table += r.String()
	}
	f.tb.Logf("%d sessions, %d replicas, %d NATS, %d msg/s each way\n%s%s",
		*fleetSessions, len(names), len(f.nodes), *fleetRate, table, f.lines.String())
}

// end ends a replica, waits until all is well, and starts it again.
func (f *fleet) end(name, what string, how syscall.Signal, target time.Duration) {
	f.look("")
	begun := time.Now()
	p := f.replicas[name]
	check(f.tb, p.cmd.Process.Signal(how))
	<-p.done
	f.keep(name)
	delete(f.replicas, name)
	moves := f.settle(what)
	f.note(what, begun, gaps(moves, begun, how == syscall.SIGKILL), moves, target)
	begun = time.Now()
	f.launch(name)
	moves = f.settle(what + " and back")
	f.note("back again", begun, gaps(moves, begun, false), moves, termTarget)
}

// killLeader kills the server that leads a stream, and starts it again. It
// counts the shards that moved and the sockets that closed.
func (f *fleet) killLeader(stream string, moved, closed *int) {
	f.look("")
	before := f.owners()
	s, err := f.js.Stream(f.tb.Context(), stream)
	check(f.tb, err)
	leader := s.CachedInfo().Cluster.Leader
	i := slices.IndexFunc(f.nodes, func(n *node) bool { return n.Name == leader })
	f.nodes[i].process.kill()
	<-time.After(12 * time.Second) // an election takes some 5 s
	check(f.tb, f.nodes[i].start())
	f.current()
	moves := f.settle("NATS leader")
	for name, shards := range f.owners() {
		for _, shard := range shards {
			if !slices.Contains(before[name], shard) {
				*moved++
			}
		}
	}
	for _, m := range moves {
		if !m.Up {
			*closed++
		}
	}
}

// complete waits until everything has arrived, and once.
func (f *fleet) complete() {
	f.tb.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(200 * time.Millisecond) {
		now := f.look("&unacked")
		if now.Accepted == f.published && now.Unacked == 0 {
			fmt.Fprintf(&f.lines, "%d commands published and sent once, %d events emitted and stored\n", f.published, now.Emitted)
			return
		}
		if time.Now().After(end) {
			f.tb.Fatalf("%d commands published, %d sent; %d events emitted, %d not stored",
				f.published, now.Accepted, now.Emitted, now.Unacked)
		}
	}
}
