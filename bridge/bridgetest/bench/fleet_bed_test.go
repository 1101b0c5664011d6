package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/broker"
)

// fleet is three replicas, one or three nats-servers and a platform.
type fleet struct {
	tb       testing.TB
	dir      string
	nodes    []*node
	nc       *nats.Conn
	js       jetstream.JetStream
	platform *process
	client   *fleetClient
	replicas map[string]*process
	starts   int

	states    states
	published int
	rows      []*fleetRow
	lines     strings.Builder
}

func newFleet(tb testing.TB, nodes int) *fleet {
	tb.Helper()
	dir, err := os.MkdirTemp("", "wabridge-fleet-") //nolint:usetesting // gone after each measurement: a stream is large
	check(tb, err)
	f := &fleet{tb: tb, dir: dir, replicas: make(map[string]*process)}
	tb.Cleanup(f.close)
	f.nodes, f.nc, err = startNodes(tb.Context(), nodes, dir)
	check(tb, err)
	f.js, err = jetstream.New(f.nc)
	check(tb, err)
	br, err := broker.Connect(tb.Context(), broker.Config{URL: natsURL(f.nodes), Manage: true, Logger: slog.New(slog.DiscardHandler)})
	check(tb, err)
	check(tb, br.Ensure(tb.Context()))
	check(tb, br.Close(tb.Context()))
	addrs, err := freeAddrs(tb.Context(), 1)
	check(tb, err)
	f.client = &fleetClient{addr: addrs[0]}
	f.platform, err = startRole("fleet-platform", "BENCH_PLATFORM="+addrs[0], "BENCH_SESSIONS="+strconv.Itoa(*fleetSessions))
	check(tb, err)
	f.define()
	_, err = f.nc.Subscribe("wa.event.*", f.states.hear)
	check(tb, err)
	return f
}

func (f *fleet) close() {
	for name, p := range f.replicas {
		p.kill()
		f.keep(name)
	}
	if f.platform != nil {
		f.platform.kill()
	}
	if f.nc != nil {
		f.nc.Close()
	}
	for _, n := range f.nodes {
		if n.process != nil {
			n.process.kill()
		}
	}
	if err := os.RemoveAll(f.dir); err != nil {
		f.tb.Error(err)
	}
}

// define puts every session into the bucket.
func (f *fleet) define() {
	kv, err := f.js.KeyValue(f.tb.Context(), "wa_sessions")
	check(f.tb, err)
	for i := range *fleetSessions {
		value, err := json.Marshal(bridge.Definition{
			Platform: bridge.PlatformChatAPI, URL: "ws://" + f.client.addr + "/v1/sessions/{session}/ws",
			TokenURL: "http://" + f.client.addr + "/oauth/token", ClientID: "bench", ClientSecret: "env:BENCH_CLIENT_SECRET",
		})
		check(f.tb, err)
		_, err = kv.Put(f.tb.Context(), fleetSession(i), value)
		check(f.tb, err)
	}
}

// launch starts a replica; its id is one that it had before, or a new one.
func (f *fleet) launch(name string) {
	level := "warn"
	if *fleetLogs != "" {
		level = "debug"
	}
	p, err := start(bridgeBinary(f.tb),
		"WABRIDGE_NATS_URL="+natsURL(f.nodes), "WABRIDGE_ADMIN_ADDR=127.0.0.1:0", "WABRIDGE_REPLICA_ID="+name,
		"BENCH_CLIENT_SECRET=bench", "WABRIDGE_LOG_LEVEL="+level)
	check(f.tb, err)
	f.replicas[name] = p
}

// keep writes what a replica that has ended logged.
func (f *fleet) keep(name string) {
	if *fleetLogs == "" {
		return
	}
	f.starts++
	path := filepath.Join(*fleetLogs, fmt.Sprintf("nats%d-%02d-%s.log", len(f.nodes), f.starts, name))
	if err := os.WriteFile(path, f.replicas[name].out.Bytes(), 0o600); err != nil {
		f.tb.Error(err)
	}
}

// look asks the platform.
func (f *fleet) look(query string) standing {
	f.tb.Helper()
	s, err := f.client.look(f.tb.Context(), query)
	check(f.tb, err)
	return s
}

// owners tells who owns which shards; nothing where NATS does not tell now.
func (f *fleet) owners() map[string][]string {
	kv, err := f.js.KeyValue(f.tb.Context(), "wa_owners")
	if err != nil {
		return nil
	}
	all, err := kv.WatchAll(f.tb.Context())
	if err != nil {
		return nil
	}
	defer func() { _ = all.Stop() }() // its consumer expires
	owned := make(map[string][]string)
	for e := range all.Updates() {
		if e == nil {
			break
		}
		if shard, is := strings.CutPrefix(e.Key(), "shard."); is {
			var r struct{ Owner string }
			check(f.tb, json.Unmarshal(e.Value(), &r))
			owned[r.Owner] = append(owned[r.Owner], shard)
		}
	}
	return owned
}

// even reports whether the replicas that run own all shards, as many each.
func (f *fleet) even() bool {
	owned, total := f.owners(), 0
	for name := range f.replicas {
		n := len(owned[name])
		if n < bridge.DefaultShards/len(f.replicas) {
			return false
		}
		total += n
	}
	return total == bridge.DefaultShards
}

// publish sends rate commands a second, over all sessions in turn, until ctx
// ends. It waits for each to be stored, for as long as that takes.
func (f *fleet) publish(ctx context.Context) {
	begun := time.Now()
	for {
		for due := begun.Add(time.Duration(f.published) * time.Second / time.Duration(*fleetRate)); time.Now().Before(due); {
			if !nap(ctx) {
				return
			}
		}
		i := f.published
		m := nats.NewMsg("wa.send." + fleetSession(i%*fleetSessions))
		m.Header.Set("Nats-Msg-Id", "fleet-"+strconv.Itoa(i))
		m.Data = fmt.Appendf(nil, `{"to":"+%d","type":"text","text":{"body":"%s"}}`, 15550000000+i%5, padding)
		for {
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			_, err := f.js.PublishMsg(call, m)
			cancel()
			if err == nil {
				break
			}
			<-time.After(100 * time.Millisecond)
		}
		f.published++
		if late := time.Since(begun) - time.Duration(f.published)*time.Second/time.Duration(*fleetRate); late > time.Second {
			begun = begun.Add(late) // what NATS did not take is not caught up with
		}
	}
}

// current waits until every copy of every stream is whole.
func (f *fleet) current() {
	f.tb.Helper()
	whole := func() error {
		ctx, cancel := context.WithTimeout(f.tb.Context(), 2*time.Second)
		defer cancel()
		list := f.js.ListStreams(ctx)
		n := 0
		for info := range list.Info() {
			n++
			if info.Cluster == nil || info.Cluster.Leader == "" {
				return errors.New("a stream has no leader")
			}
			for _, r := range info.Cluster.Replicas {
				if !r.Current || r.Offline {
					return fmt.Errorf("a copy of %s lags", info.Config.Name)
				}
			}
		}
		if n == 0 {
			return errors.New("no streams are listed")
		}
		return list.Err()
	}
	for end := time.Now().Add(2 * time.Minute); ; <-time.After(100 * time.Millisecond) {
		err := whole()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			f.tb.Fatalf("the NATS cluster is not whole within two minutes: %v", err)
		}
	}
}
