package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/chatapi"
	"wabridge/bridge/inbound"
	"wabridge/bridge/outbound"
	"wabridge/bridge/telemetry"
)

// host holds what every session of this replica shares.
type host struct {
	cfg    Config
	broker *broker.Broker
	tel    *telemetry.Telemetry
	log    *slog.Logger
	names  bridge.Names
	shards int

	owners, backlog, ledger, tokens, state bridge.KV

	definitions *definitions
	announcer   *announcer
	shared      *broker.Store // for what has no order with a session's records
	metrics     *metrics
	inbound     *inbound.Env
	recall      *recall
	unsaved     rate.Sometimes // tells of positions that cannot be saved, for all shards
	outbound    *outbound.Env
	chatapi     *chatapi.Env
	tokenKey    *auth.Key // nil: refresh tokens are kept in memory
	oauth       *http.Client
	pace        *pace
	media       *broker.Media
	cloud       *cloud

	// fleet, may and drain are set before anything runs: fleet holds the sessions
	// that run here; may says whether this replica may act for its shards
	// now; drain bounds the orderly end of a session.
	fleet *fleet
	may   func() bool
	drain time.Duration
}

// newHost opens the buckets and builds what sessions share.
func newHost(ctx context.Context, cfg Config, b *broker.Broker, tel *telemetry.Telemetry) (*host, error) {
	h := &host{
		cfg: cfg, broker: b, tel: tel, log: tel.Logger(), names: b.Names(), shards: b.Shards(), oauth: auth.NewHTTPClient(),
		unsaved: rate.Sometimes{Interval: time.Minute},
		pace:    newPace(),
	}
	var sessions bridge.KV
	for _, bucket := range []struct {
		kind string
		kv   *bridge.KV
	}{
		{broker.Sessions, &sessions},
		{broker.Owners, &h.owners},
		{broker.Backlog, &h.backlog},
		{broker.Ledger, &h.ledger},
		{broker.Tokens, &h.tokens},
		{broker.State, &h.state},
	} {
		kv, err := b.KV(ctx, bucket.kind)
		if err != nil {
			return nil, err
		}
		*bucket.kv = kv
	}
	var errs [4]error
	h.metrics, errs[0] = newMetrics(tel.MeterProvider())
	received, err := inbound.NewMetrics(tel.MeterProvider(), h.names)
	errs[1] = err
	h.outbound, errs[2] = newOutbound(h)
	h.chatapi = &chatapi.Env{AllowInsecure: cfg.AllowInsecure, Logger: h.log, TracerProvider: tel.TracerProvider()}
	h.chatapi.Metrics, errs[3] = chatapi.NewMetrics(tel.MeterProvider())
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("making metrics: %w", err)
	}
	if cfg.TokenKey != "" {
		key, err := auth.ParseKey(cfg.TokenKey)
		if err != nil {
			return nil, fmt.Errorf("token key: %w", err)
		}
		h.tokenKey = &key
	}
	h.shared = b.NewStore("_shared")
	h.announcer = newAnnouncer(h.names, cfg.ReplicaID, h.state, h.shared, h.log, h.metrics)
	h.announcer.may = func() bool { return h.may() }
	h.definitions = newDefinitions(cfg.Sessions, sessions, h.log)
	media, err := b.Media(ctx)
	if err != nil {
		return nil, err
	}
	h.media = media
	h.recall = &recall{broker: b, state: h.state, backlog: h.backlog, log: h.log, turn: make(chan struct{}, 1)}
	h.inbound = &inbound.Env{
		Names: h.names, Found: b, Spill: spill{media}, Window: broker.Dedupe,
		Logger: h.log, TracerProvider: tel.TracerProvider(), Metrics: received,
	}
	cloud, err := newCloud(ctx, h)
	if err != nil {
		return nil, err
	}
	h.cloud = cloud
	return h, nil
}

// newOutbound is what the sessions share of outbound.
func newOutbound(h *host) (*outbound.Env, error) {
	metrics, err := outbound.NewMetrics(h.tel.MeterProvider(), h.names)
	return &outbound.Env{
		Names: h.names, Created: h.broker.SendCreated(), MaxAge: broker.SendAge,
		Outcomes: outcomes{h.broker}, Reader: h.broker, Cursors: h.backlog,
		May: func() bool { return h.may() }, Doubt: h.cfg.Doubt,
		Logger: h.log, TracerProvider: h.tel.TracerProvider(), Metrics: metrics,
	}, err
}

// close flushes what the sessions share; they have ended before.
func (h *host) close(ctx context.Context) error {
	h.oauth.CloseIdleConnections()
	return errors.Join(h.announcer.flush(ctx), h.cloud.close(ctx), h.shared.Close(ctx))
}

// faulty says that a definition in KV wa_sessions cannot be used; what ran
// before goes on. err names no secret. Every replica logs it; the session's own
// state, on the one that owns it, tells everyone else.
func (h *host) faulty(id string, err error) {
	if !bridge.ValidID(id) {
		h.log.Warn("a key in the bucket of sessions is no session id", "error", err)
		return
	}
	h.log.Warn("faulty session definition", "session", id, "error", err)
}

// newSession builds a session that goes on where from says. A faulty definition
// gives one that stands still and says why.
func (h *host) newSession(ctx context.Context, def *bridge.Definition, from beginning, of *shard) (_ *session, err error) {
	store := h.broker.NewStore(def.ID)
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close(ctx)) // it holds nothing
		}
	}()
	s := &session{shard: of, def: def, announcer: h.announcer, log: h.log, store: store}
	s.out, err = outbound.New(outbound.Config{
		Env: h.outbound, Session: def.ID, Store: s.store, Ledger: h.ledgerOf(def), Policy: def.Unknown,
		Limits: h.cloud.limits(def), App: h.cloud.app(def), Settled: from.settled, Patience: of.patience,
	})
	if err != nil {
		return nil, err
	}
	if s.in, err = inbound.New(inbound.Config{
		Env: h.inbound, Session: def.ID, Store: s.store, Observe: s.out.Observe, Past: from.stored,
	}); err != nil {
		return nil, err
	}
	s.platform = h.platform(def, s)
	if err := s.out.SetPlatform(s.platform); err != nil {
		return nil, err
	}
	return s, s.out.Start(from.cursor)
}

// ledgerOf is the ledger for a session whose platform has no idempotency key.
func (h *host) ledgerOf(def *bridge.Definition) bridge.KV {
	if def.Platform != bridge.PlatformCloudAPI {
		return nil
	}
	return h.ledger
}

// newOrphans holds the commands of a shard's unknown sessions.
func (h *host) newOrphans() *outbound.Orphans {
	orphans, err := outbound.NewOrphans(outbound.OrphansConfig{
		Names: h.names, Created: h.broker.SendCreated(), Store: h.shared, Outcomes: outcomes{h.broker},
		May: func(string) bool { return h.may() }, Logger: h.log, Metrics: h.outbound.Metrics,
	})
	if err != nil { // every field that it asks for is set above
		panic(fmt.Sprintf("holding commands of unknown sessions: %v", err))
	}
	return orphans
}

// platform builds a session's platform, or one that stands still.
func (h *host) platform(def *bridge.Definition, s *session) bridge.Session {
	if def.Fault != "" {
		return &still{host: s, change: bridge.Change{State: bridge.Stopped, Reason: def.Fault}}
	}
	if def.Paused {
		return &still{host: s, change: bridge.Change{State: bridge.Paused, Reason: "paused by an operator"}}
	}
	var p bridge.Session
	var err error
	switch def.Platform {
	case bridge.PlatformChatAPI:
		p, err = h.chat(def, s)
	case bridge.PlatformCloudAPI:
		p, err = h.cloud.session(def, s)
	default:
		err = fmt.Errorf("platform %q: want %s or %s", def.Platform, bridge.PlatformChatAPI, bridge.PlatformCloudAPI)
	}
	if err != nil {
		return &still{host: s, change: bridge.Change{State: bridge.Stopped, Reason: err.Error()}}
	}
	return p
}

// running is the session of this id where it runs on this replica, else nil.
func (h *host) running(id string) *session {
	s := h.fleet.shard(bridge.Shard(id, h.shards))
	if s == nil {
		return nil
	}
	if one := s.all()[id]; one != nil && !one.closing.Load() {
		return one
	}
	return nil
}
