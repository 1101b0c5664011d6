package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge/bridgetest"
)

// clusterKinds need several NATS servers or several replicas.
func clusterKinds() []kind {
	return []kind{
		{name: "nats-leader-kill", lane: "nats", suits: onCluster, about: "kill -9 of the leader of a stream", strike: func(ctx context.Context, w *world, f *fault) error {
			stream := f.stream()
			p, err := w.leader(ctx, stream)
			if err != nil {
				return err
			}
			err = w.restart(ctx, f, p, (*process).killed)
			f.note(p.name + ", leader of " + stream)
			return err
		}},
		{name: "nats-step-down", lane: "nats", suits: onCluster, about: "the leader of a stream steps down", strike: func(ctx context.Context, w *world, f *fault) error {
			stream := f.stream()
			f.note(stream)
			return w.stepDown(ctx, stream)
		}},
		{name: "nats-split", lane: "nats", suits: onCluster, about: "a NATS server is cut off from the others", strike: func(ctx context.Context, w *world, f *fault) error {
			i := f.rand.IntN(len(w.nodes))
			d := f.between(500*time.Millisecond, 4*time.Second)
			f.note(fmt.Sprintf("%s for %v", w.nodes[i].name, d.Round(time.Millisecond)))
			var cut []*bridgetest.Link
			for j := range w.nodes {
				if j != i {
					cut = append(cut, w.routes[i][j], w.routes[j][i])
				}
			}
			for _, l := range cut {
				l.Refuse()
			}
			await(ctx, d)
			for _, l := range cut {
				l.Heal()
			}
			return nil
		}},
		{name: "nats-roll", lane: "nats", suits: onCluster, about: "rolling restart of all NATS servers", strike: func(ctx context.Context, w *world, f *fault) error {
			for _, p := range w.nodes {
				if err := errors.Join(p.terminate(), p.start(ctx), w.awaitCurrent(ctx)); err != nil {
					return err
				}
			}
			f.note("all")
			return nil
		}},
		{name: "bridge-roll", lane: "bridge", suits: onReplicas, about: "rolling restart of all replicas", strike: func(ctx context.Context, w *world, f *fault) error {
			for _, p := range w.bridges {
				if err := errors.Join(p.terminate(), p.start(ctx)); err != nil {
					return err
				}
				await(ctx, 2*time.Second)
			}
			f.note("all")
			return nil
		}},
	}
}

// stream draws one that matters.
func (f *fault) stream() string {
	return []string{"WA_SEND", "WA_RECV", "KV_wa_owners"}[f.rand.IntN(3)]
}

// leader is the server that leads a stream.
func (w *world) leader(ctx context.Context, stream string) (*process, error) {
	nc, js, err := w.connect("chaos looks")
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	var name string
	err = until(ctx, 30*time.Second, stream+" has a leader", func(ctx context.Context) bool {
		s, err := js.Stream(ctx, stream)
		if err == nil && s.CachedInfo().Cluster != nil {
			name = s.CachedInfo().Cluster.Leader
		}
		return name != ""
	})
	if err != nil {
		return nil, err
	}
	var i int
	if _, err := fmt.Sscanf(name, "n%d", &i); err != nil || i < 0 || i >= len(w.nodes) {
		return nil, fmt.Errorf("%s is led by %q, which is no server of ours", stream, name)
	}
	return w.nodes[i], nil
}

func (w *world) stepDown(ctx context.Context, stream string) error {
	nc, _, err := w.connect("chaos steps down")
	if err != nil {
		return err
	}
	defer nc.Close()
	return until(ctx, 30*time.Second, "the leader of "+stream+" steps down", func(ctx context.Context) bool {
		_, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
		return err == nil || errors.Is(err, nats.ErrConnectionClosed)
	})
}

// awaitCurrent waits until every copy of the streams that matter is current, as
// an operator does before the next restart.
func (w *world) awaitCurrent(ctx context.Context) error {
	nc, js, err := w.connect("chaos waits")
	if err != nil {
		return err
	}
	defer nc.Close()
	return until(ctx, time.Minute, "all copies are current", func(ctx context.Context) bool {
		for _, name := range []string{"WA_SEND", "WA_RECV", "KV_wa_owners"} {
			s, err := js.Stream(ctx, name)
			if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
				return false
			}
			for _, r := range s.CachedInfo().Cluster.Replicas {
				if !r.Current || r.Offline {
					return false
				}
			}
		}
		return true
	})
}
