package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"wabridge/bridge/bridgetest"
)

// allKinds lists every kind of fault.
func allKinds() []kind {
	return slices.Concat(processKinds(), linkKinds(), platformKinds(), clusterKinds())
}

func onCluster(o *options) bool  { return o.nodes > 1 }
func onReplicas(o *options) bool { return o.replicas > 1 }
func onChat(o *options) bool     { return !o.cloud() }
func onCloud(o *options) bool    { return o.cloud() }

func (f *fault) pick(list []*process) *process { return list[f.rand.IntN(len(list))] }

// processKinds end, restart and pause processes.
func processKinds() []kind {
	return []kind{
		{name: "bridge-kill", lane: "bridge", about: "kill -9 of a replica, started again", strike: func(ctx context.Context, w *world, f *fault) error {
			return w.restart(ctx, f, f.pick(w.bridges), (*process).killed)
		}},
		{name: "bridge-term", lane: "bridge", about: "SIGTERM of a replica, started again", strike: func(ctx context.Context, w *world, f *fault) error {
			return w.restart(ctx, f, f.pick(w.bridges), (*process).terminate)
		}},
		{name: "bridge-pause", lane: "bridge", about: "SIGSTOP and SIGCONT of a replica", strike: func(ctx context.Context, w *world, f *fault) error {
			return f.pause(ctx, f.pick(w.bridges))
		}},
		{name: "nats-kill", lane: "nats", about: "kill -9 of a NATS server, started again", strike: func(ctx context.Context, w *world, f *fault) error {
			return w.restart(ctx, f, f.pick(w.nodes), (*process).killed)
		}},
		{name: "nats-term", lane: "nats", about: "SIGTERM of a NATS server, started again", strike: func(ctx context.Context, w *world, f *fault) error {
			return w.restart(ctx, f, f.pick(w.nodes), (*process).terminate)
		}},
		{name: "nats-pause", lane: "nats", about: "SIGSTOP and SIGCONT of a NATS server", strike: func(ctx context.Context, w *world, f *fault) error {
			return f.pause(ctx, f.pick(w.nodes))
		}},
		{name: "platform-kill", lane: "platform", about: "kill -9 of the platform, started again", strike: func(ctx context.Context, w *world, f *fault) error {
			w.remember(ctx)
			return errors.Join(w.restart(ctx, f, w.sim, (*process).killed), w.rearm(ctx))
		}},
		{name: "platform-term", lane: "platform", about: "SIGTERM of the platform, started again", strike: func(ctx context.Context, w *world, f *fault) error {
			w.remember(ctx)
			return errors.Join(w.restart(ctx, f, w.sim, (*process).terminate), w.rearm(ctx))
		}},
		{name: "platform-pause", lane: "platform", about: "SIGSTOP and SIGCONT of the platform", strike: func(ctx context.Context, w *world, f *fault) error {
			return f.pause(ctx, w.sim)
		}},
	}
}

func (p *process) killed() error {
	p.kill()
	return nil
}

// restart ends a process, leaves it dead for a moment and starts it again. Of
// several replicas, the others are to take over: there the recovery counts from
// the end on.
func (w *world) restart(ctx context.Context, f *fault, p *process, end func(*process) error) error {
	f.note(p.name)
	outage := f.between(20*time.Millisecond, 600*time.Millisecond)
	ended := end(p)
	replica := slices.Contains(w.bridges, p)
	if replica && len(w.bridges) > 1 {
		f.ends()
		outage += 3 * time.Second
	}
	await(ctx, outage)
	started := p.start(ctx)
	if !replica || len(w.bridges) == 1 {
		f.ends()
	}
	return errors.Join(ended, started)
}

// pause stops a process for a moment.
func (f *fault) pause(ctx context.Context, p *process) error {
	d := f.between(200*time.Millisecond, 2500*time.Millisecond)
	f.note(fmt.Sprintf("%s for %v", p.name, d.Round(time.Millisecond)))
	p.pause()
	await(ctx, d)
	p.resume()
	return nil
}

// rearm arms what goes wrong all the time, after the platform has forgotten it.
func (w *world) rearm(ctx context.Context) error {
	if !w.o.cloud() {
		return nil
	}
	return w.arm(ctx)
}

// linkKinds cut and hold connections.
func linkKinds() []kind {
	nats := func(w *world, f *fault) []*bridgetest.Link { return w.toNATS[f.rand.IntN(len(w.toNATS))] }
	platform := func(w *world, f *fault) []*bridgetest.Link {
		if w.o.cloud() && f.rand.IntN(2) == 0 {
			return []*bridgetest.Link{w.webhooks}
		}
		return []*bridgetest.Link{w.toPlatform[f.rand.IntN(len(w.toPlatform))]}
	}
	var list []kind
	for _, side := range []struct {
		name string
		of   func(*world, *fault) []*bridgetest.Link
	}{{"nats", nats}, {"platform", platform}} {
		list = append(list,
			kind{name: side.name + "-cut", lane: side.name + " links", about: "every connection between a replica and " + side.name + " is reset", strike: func(ctx context.Context, w *world, f *fault) error {
				return f.each(side.of(w, f), 0, (*bridgetest.Link).Cut)(ctx)
			}},
			kind{name: side.name + "-stall", lane: side.name + " links", about: "nothing passes between a replica and " + side.name, strike: func(ctx context.Context, w *world, f *fault) error {
				return f.each(side.of(w, f), 3*time.Second, func(l *bridgetest.Link) { l.HoldUp(); l.HoldDown() })(ctx)
			}},
			kind{name: side.name + "-oneway-to", lane: side.name + " links", about: "nothing passes from a replica to " + side.name, strike: func(ctx context.Context, w *world, f *fault) error {
				return f.each(side.of(w, f), 3*time.Second, func(l *bridgetest.Link) { l.HoldUp() })(ctx)
			}},
			kind{name: side.name + "-oneway-from", lane: side.name + " links", about: "nothing passes from " + side.name + " to a replica", strike: func(ctx context.Context, w *world, f *fault) error {
				return f.each(side.of(w, f), 3*time.Second, func(l *bridgetest.Link) { l.HoldDown() })(ctx)
			}},
			kind{name: side.name + "-partition", lane: side.name + " links", about: "a replica and " + side.name + " cannot connect", strike: func(ctx context.Context, w *world, f *fault) error {
				return f.each(side.of(w, f), 3*time.Second, (*bridgetest.Link).Refuse)(ctx)
			}},
		)
	}
	return list
}

// each does something to links, waits up to most, and heals them.
func (f *fault) each(links []*bridgetest.Link, most time.Duration, do func(*bridgetest.Link)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var d time.Duration
		if most > 0 {
			d = f.between(most/15, most)
		}
		f.note(fmt.Sprintf("%s for %v", links[0].Name(), d.Round(time.Millisecond)))
		for _, l := range links {
			do(l)
		}
		await(ctx, d)
		for _, l := range links {
			l.Heal()
		}
		return nil
	}
}

// heal ends every fault: all processes run, everything passes, nothing is armed
// but what goes wrong all the time.
func (w *world) heal(ctx context.Context) error {
	for _, l := range w.links() {
		l.Heal()
	}
	for _, p := range w.processes() {
		p.resume()
	}
	if err := w.control.call(ctx, "DELETE", "/control/faults", nil, nil); err != nil {
		return err
	}
	return w.rearm(ctx)
}
