package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"wabridge/bridge/admin"
	"wabridge/bridge/broker"
	"wabridge/bridge/ownership"
	"wabridge/bridge/telemetry"
)

// App is one replica of the service.
type App struct {
	cfg Config
}

// New checks the configuration, all of it, and connects to nothing.
func New(cfg Config) (*App, error) {
	cfg.setDefaults()
	if cfg.ReplicaID == "" {
		cfg.ReplicaID = hostID()
	}
	cfg.Telemetry.Instance = cfg.ReplicaID
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &App{cfg: cfg}, nil
}

// hostID makes a replica id of the host's name: the same after a restart, and
// different between containers.
func hostID() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "replica"
	}
	id := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		default:
			return '-'
		}
	}, name)
	return id[:min(len(id), 64)]
}

// Run connects, serves until ctx ends and then shuts down within
// ShutdownTimeout. It returns nil where ctx ended it, also before it served; an
// error says what kept it from starting, or what else ended it.
func (a *App) Run(ctx context.Context) (err error) {
	tel, err := telemetry.Setup(ctx, a.cfg.Telemetry)
	if err != nil {
		return err
	}
	defer func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetry.ShutdownTimeout)
		defer cancel()
		err = errors.Join(err, tel.Shutdown(flush))
	}()
	log := tel.Logger()

	conf := a.cfg.Broker
	conf.Logger, conf.Meter = log, tel.MeterProvider()
	if conf.Name == "" {
		conf.Name = "wabridge " + a.cfg.ReplicaID
	}
	b, err := broker.Connect(ctx, conf)
	if err != nil {
		return unasked(ctx, err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer func() {
		closing, cancel := context.WithTimeout(life, 5*time.Second)
		defer cancel()
		err = errors.Join(unasked(ctx, err), b.Close(closing))
	}()
	if err := b.Ensure(ctx); err != nil {
		return err
	}
	h, err := newHost(ctx, a.cfg, b, tel)
	if err != nil {
		return err
	}
	return a.serve(ctx, life, h)
}

// unasked is err, or nil where err only says that ctx has ended.
func unasked(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

// serve runs the parts that live side by side. The first that fails ends the
// others; they end in order: the shards are handed over while NATS and the
// announcer still work. It returns why ctx, or that part, ended.
func (a *App) serve(ctx, life context.Context, h *host) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	fail := func(what string, err error) {
		if err != nil {
			stop(fmt.Errorf("%s: %w", what, err))
		}
	}
	back, endBack := context.WithCancel(life)
	var parts, behind sync.WaitGroup
	defer behind.Wait()
	defer endBack()

	fleet := newFleet(h)
	h.fleet = fleet
	if err := h.metrics.watch(fleet.zombies); err != nil {
		return fmt.Errorf("observing sessions: %w", err)
	}
	h.definitions.changed = func(id string) { h.cloud.route(id); fleet.redefine(id) }
	h.definitions.faulty = h.faulty
	member, err := ownership.New(ownership.Config{
		Replica: a.cfg.ReplicaID, Count: h.shards, KV: h.owners, Shards: fleet, Logger: h.log,
		HandOver: a.cfg.ShutdownTimeout * 2 / 3,
	}, incarnation())
	if err != nil {
		return err
	}
	h.may = member.May
	h.drain = a.cfg.ShutdownTimeout * 2 / 3

	behind.Go(func() { h.announcer.run(back) })
	behind.Go(func() { h.definitions.watch(back) })
	behind.Go(func() { fleet.run(back) })
	behind.Go(func() { keepHeadroom(back) })
	select {
	case <-h.definitions.loaded:
	case <-ctx.Done():
		return context.Cause(ctx)
	}

	for _, def := range a.cfg.Sessions {
		h.cloud.route(def.ID)
	}
	health, err := a.health(h, member)
	if err != nil {
		return err
	}
	if health != nil {
		behind.Go(func() { fail("serving health and metrics", health.Run(back)) })
	}
	if !a.cfg.NoControl {
		control, err := newControl(ctx, h)
		if err != nil {
			return err
		}
		service := admin.NewMicro(admin.MicroConfig{
			Conn: h.broker.Conn(), Names: h.names, Control: control,
			Version: a.cfg.Version, Replica: a.cfg.ReplicaID, Logger: h.log,
		})
		parts.Go(func() { fail("serving the micro service", service.Run(ctx)) })
	}
	if h.cloud.hooks != nil {
		parts.Go(func() { fail("serving webhooks", h.cloud.serve(ctx)) })
	}
	parts.Go(func() { fail("taking part among the replicas", member.Run(ctx)) })
	h.log.Info("wabridge runs", "replica", a.cfg.ReplicaID, "version", a.cfg.Version,
		"sessions", len(a.cfg.Sessions), "prefix", h.names.Prefix())

	<-ctx.Done()
	if health != nil {
		health.Drain()
	}
	h.log.Info("wabridge stops")
	parts.Wait()
	flush, cancel := context.WithTimeout(life, a.cfg.ShutdownTimeout/5)
	defer cancel()
	if err := h.close(flush); err != nil {
		h.log.Warn("stopping", "error", err)
	}
	return context.Cause(ctx)
}

func (a *App) health(h *host, member *ownership.Member) (*admin.Server, error) {
	if a.cfg.AdminAddr == "off" {
		return nil, nil
	}
	return admin.New(admin.Config{
		Addr:      a.cfg.AdminAddr,
		Metrics:   h.tel.MetricsHandler(),
		Logger:    h.log,
		Profiling: a.cfg.AdminPprof,
		Checks: []admin.Check{
			{Name: "nats", Check: h.broker.Health},
			{Name: "replicas", Check: member.Health},
		},
	})
}

// incarnation names this process; it sorts after that of every process before.
func incarnation() string {
	return fmt.Sprintf("%020d-%s", time.Now().UnixNano(), rand.Text()[:8])
}
