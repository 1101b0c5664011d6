package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/cloudapi"
	"wabridge/bridge/inbound"
	"wabridge/bridge/outbound"
)

// cloud is what the Cloud API sessions of a replica share: the webhook endpoint
// and its routes, the object store for media, and the holds of each app.
type cloud struct {
	host     *host
	meter    metric.Meter
	routes   *cloudapi.Routes
	hooks    *cloudapi.Webhooks // nil: this replica takes no webhooks
	listener net.Listener
	objects  *objects
	uploads  bridge.KV
	visits   *outbound.Env // of visitors, who take no commands and may always act

	mu       sync.Mutex
	apps     map[string]*outbound.App
	visitors map[string]*visitor
	accounts map[string]*account
}

// account is a session's way to Graph, shared by the session and its webhooks:
// the client of its token, and what moves its files (nil where media are off).
type account struct {
	def   *bridge.Definition
	graph *cloudapi.Graph
	media *cloudapi.Media
}

func newCloud(ctx context.Context, h *host) (*cloud, error) {
	c := &cloud{
		host: h, meter: h.tel.MeterProvider().Meter("wabridge/bridge/cloudapi"), routes: cloudapi.NewRoutes(),
		apps: make(map[string]*outbound.App), visitors: make(map[string]*visitor), accounts: make(map[string]*account),
	}
	c.objects = &objects{h.media}
	c.visits = &outbound.Env{
		Names: h.names, Created: h.broker.SendCreated(), Outcomes: outcomes{h.broker}, Reader: h.broker, Cursors: h.backlog,
		Logger: h.log, Metrics: h.outbound.Metrics,
	}
	var err error
	if c.uploads, err = h.broker.KV(ctx, broker.Uploads); err != nil {
		return nil, err
	}
	if h.cfg.WebhookAddr == "" {
		return c, nil
	}
	unrouted, err := c.visitor(bridge.Unrouted)
	if err != nil {
		return nil, err
	}
	c.hooks, err = cloudapi.NewWebhooks(cloudapi.WebhooksConfig{
		Routes: c.routes, Unrouted: unrouted.in, Logger: h.log, Meter: c.meter,
	})
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if c.listener, err = lc.Listen(ctx, "tcp", h.cfg.WebhookAddr); err != nil {
		return nil, fmt.Errorf("listening for webhooks (WABRIDGE_WEBHOOK_ADDR): %w", err)
	}
	return c, nil
}

// serve takes webhooks until ctx ends.
func (c *cloud) serve(ctx context.Context) error {
	c.host.log.Info("taking webhooks", "address", c.listener.Addr().String())
	if at := c.host.cfg.WebhooksAt; at != nil {
		at(c.listener.Addr())
	}
	return cloudapi.Serve(ctx, c.listener, cloudapi.ServerConfig{
		Handler: c.hooks, CertFile: c.host.cfg.WebhookCert, KeyFile: c.host.cfg.WebhookKey, Logger: c.host.log,
	})
}

// close ends what webhooks left behind.
func (c *cloud) close(ctx context.Context) error {
	var errs []error
	if c.hooks != nil {
		c.hooks.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.visitors {
		errs = append(errs, v.close(ctx))
	}
	for _, a := range c.accounts {
		a.close()
	}
	return errors.Join(errs...)
}

// app is what the sessions of one Meta app share: a hold on one is a hold on all.
func (c *cloud) app(def *bridge.Definition) *outbound.App {
	if def.Platform != bridge.PlatformCloudAPI {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.apps[def.AppID]
	if a == nil {
		a = outbound.NewApp()
		c.apps[def.AppID] = a
	}
	return a
}

// limits are WhatsApp's published rates for a Cloud API number, and none for a
// Chat API session, whose platform says so itself.
func (c *cloud) limits(def *bridge.Definition) outbound.Limits {
	if def.Platform != bridge.PlatformCloudAPI {
		return outbound.Limits{}
	}
	return outboundLimits(cloudapi.DefaultLimits())
}

func outboundLimits(l cloudapi.Limits) outbound.Limits {
	return outbound.Limits{
		SessionRate: l.PerSecond, SessionBurst: int(l.PerSecond),
		ConversationRate: float64(time.Second) / float64(l.PairEvery), ConversationBurst: l.PairBurst,
	}
}

// account is the account of a session as it is defined now.
func (c *cloud) account(def *bridge.Definition) (*account, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.accounts[def.ID]
	if before != nil && reflect.DeepEqual(before.def, def) {
		return before, nil
	}
	graph, err := c.graph(def)
	if err != nil {
		return nil, err
	}
	a := &account{def: def, graph: graph}
	if c.host.cfg.Media {
		a.media, err = cloudapi.NewMedia(cloudapi.MediaConfig{
			Graph: graph, PhoneNumberID: def.PhoneNumberID, Objects: c.objects, Uploads: c.uploads,
			LoopbackLinks: c.host.cfg.AllowInsecure, Logger: c.host.log,
		})
		if err != nil {
			return nil, err
		}
	}
	if before != nil {
		before.close()
	}
	c.accounts[def.ID] = a
	return a, nil
}

// close drops idle connections. The account stays usable for who still has it.
func (a *account) close() {
	a.graph.Close()
	if a.media != nil {
		a.media.Close()
	}
}

// graph builds the client of one session's token.
func (c *cloud) graph(def *bridge.Definition) (*cloudapi.Graph, error) {
	tokens, err := c.host.tokenSource(def)
	if err != nil {
		return nil, err
	}
	secret, err := resolve("app secret", def.AppSecret)
	if err != nil {
		return nil, err
	}
	return cloudapi.NewGraph(cloudapi.GraphConfig{
		URL: c.host.cfg.GraphURL, Version: c.host.cfg.GraphVersion, Token: tokens,
		AppID: def.AppID, AppSecret: secret, Insecure: c.host.cfg.AllowInsecure, Logger: c.host.log,
	})
}

// session builds a Cloud API session.
func (c *cloud) session(def *bridge.Definition, s *session) (bridge.Session, error) {
	a, err := c.account(def)
	if err != nil {
		return nil, err
	}
	return cloudapi.New(cloudapi.Config{
		ID: def.ID, PhoneNumberID: def.PhoneNumberID, WABAID: def.WABAID, Graph: a.graph, Media: a.media, Host: s,
		Limits: func(l cloudapi.Limits) { s.out.SetLimits(outboundLimits(l)) },
		Logger: c.host.log, Meter: c.meter,
	})
}

// route brings the webhooks of a session into line with its definition. Every
// replica takes the webhooks of every session.
func (c *cloud) route(id string) {
	if c.hooks == nil {
		return
	}
	def, exists := c.host.definitions.get(id)
	if !exists || def.Platform != bridge.PlatformCloudAPI || def.Fault != "" {
		c.routes.Remove(id)
		return
	}
	if err := c.addRoute(def); err != nil {
		c.host.faulty(id, fmt.Errorf("webhooks: %w", err))
	}
}

func (c *cloud) addRoute(def *bridge.Definition) error {
	a, err := c.account(def)
	if err != nil {
		return err
	}
	r := receiver{cloud: c, session: def.ID}
	route := cloudapi.Route{
		Session: def.ID, PhoneNumberID: def.PhoneNumberID, WABAID: def.WABAID, AppID: def.AppID,
		Receiver: r, Media: a.media, Count: r.count, Recheck: r.recheck,
	}
	for _, secret := range []struct {
		what string
		ref  bridge.SecretRef
		to   *string
	}{
		{"app secret", def.AppSecret, &route.AppSecret},
		{"previous app secret", def.PreviousAppSecret, &route.PreviousAppSecret},
		{"verify token", def.VerifyToken, &route.VerifyToken},
	} {
		value, err := resolve(secret.what, secret.ref)
		if err != nil {
			return err
		}
		*secret.to = value
	}
	return c.routes.Add(route)
}

// receiver gives what a webhook brought to its session: to the one that runs
// here, or to a visitor where another replica owns it.
type receiver struct {
	cloud   *cloud
	session string
}

// Receive implements cloudapi.Receiver.
func (r receiver) Receive(ctx context.Context, in *bridge.Inbound) error {
	if s := r.cloud.host.running(r.session); s != nil {
		return s.Receive(ctx, in)
	}
	v, err := r.cloud.visitor(r.session)
	if err != nil {
		return err
	}
	if in.Kind == bridge.KindStatus {
		r.cloud.follow(ctx, r.session, v)
	}
	return v.in.Receive(ctx, in)
}

// count tells the session how much came in; the one that runs on another replica
// does not hear of it, and Meta's own limit holds it.
func (r receiver) count(n int) {
	if s := r.cloud.host.running(r.session); s != nil {
		s.out.Count(n)
	}
}

// recheck has the session look at its token again; one that runs on another
// replica does so within a day.
func (r receiver) recheck() {
	if s := r.cloud.host.running(r.session); s != nil {
		if p, ok := s.platform.(*cloudapi.Session); ok {
			p.Recheck()
		}
	}
}

// visitor stores what a webhook brings for a session that another replica owns.
// Message ids make it harmless where both take the same.
type visitor struct {
	store *broker.Store
	in    *inbound.Session
	out   *outbound.Session

	mu       sync.Mutex
	followed time.Time
}

// followEvery is how often a visitor looks at what is settled, at most.
const followEvery = time.Second

// follow tells a visitor which commands are settled: a status of another one
// costs a read of the command and an outcome that is there already.
func (c *cloud) follow(ctx context.Context, id string, v *visitor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(v.followed) < followEvery {
		return
	}
	v.followed = time.Now()
	floor, err := c.host.broker.AckFloor(ctx, bridge.Shard(id, c.host.shards))
	if err == nil {
		err = v.out.Follow(ctx, floor)
	}
	if err != nil {
		c.host.log.Debug("looking at what is settled", "session", id, "error", err)
	}
}

func (c *cloud) visitor(id string) (*visitor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.visitors[id]; v != nil {
		return v, nil
	}
	h := c.host
	v := &visitor{store: h.broker.NewStore(id)}
	var err error
	v.out, err = outbound.New(outbound.Config{Env: c.visits, Session: id, Store: v.store, Ledger: h.ledger})
	if err != nil {
		return nil, err
	}
	if v.in, err = inbound.New(inbound.Config{Env: h.inbound, Session: id, Store: v.store, Observe: v.out.Observe}); err != nil {
		return nil, err
	}
	c.visitors[id] = v
	return v, nil
}

func (v *visitor) close(ctx context.Context) error {
	return errors.Join(v.out.Close(ctx), v.store.Close(ctx))
}
