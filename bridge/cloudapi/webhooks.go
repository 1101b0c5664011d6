package cloudapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/sync/semaphore"
)

// WebhookPath is where Meta posts; an app id may follow it.
const WebhookPath = "/webhook"

const (
	maxWebhook   = 3 << 20 // bytes: what Meta sends at most
	readTimeout  = 5 * time.Second
	storeTimeout = 10 * time.Second
	webhookSpace = 32 << 20 // bytes
	requestSpace = 16 << 10 // bytes that a request takes at least while it is stored
	firstRead    = 2 << 10  // bytes: most webhooks fit
	smallBody    = 64 << 10 // bytes
	largeBodies  = 16
	maxChallenge = 1 << 10
	maxFetches   = 512 // media messages waiting for their file
)

// WebhooksConfig says how webhooks are taken.
type WebhooksConfig struct {
	Routes *Routes
	// Unrouted takes what belongs to no session, as bridge.KindPoison.
	Unrouted Receiver
	// ReadTimeout bounds the arrival of one request's body; 0 is 5 s.
	ReadTimeout time.Duration
	// StoreTimeout bounds the wait until a request is stored; 0 is 10 s. Then it
	// is answered with 503, and Meta sends it again.
	StoreTimeout time.Duration
	// Space bounds the bytes of all requests under way; 0 is 32 MiB. One that is
	// being stored takes at least 16 KiB. Besides, up to 16 requests may be larger
	// than 64 KiB, with up to 3 MiB each.
	Space int64
	// Logger is slog.Default where nil; Meter records nothing where nil.
	Logger *slog.Logger
	Meter  metric.Meter
}

// Webhooks is the http.Handler that Meta posts to. It answers 200 only once
// every part of a request is stored.
type Webhooks struct {
	routes       *Routes
	unrouted     Receiver
	readTimeout  time.Duration
	storeTimeout time.Duration
	space        *semaphore.Weighted
	large        *semaphore.Weighted
	fetches      *semaphore.Weighted
	gates        gates
	log          *slog.Logger
	meters       webhookMeters

	detached sync.WaitGroup // media messages
	close    context.CancelFunc
	onClose  func(func()) (stop func() bool)
}

// NewWebhooks returns the handler, or every fault of c.
func NewWebhooks(c WebhooksConfig) (*Webhooks, error) {
	var faults []error
	if c.Routes == nil {
		faults = append(faults, errors.New("no routes"))
	}
	if c.Unrouted == nil {
		faults = append(faults, errors.New("no receiver for what belongs to no session"))
	}
	if c.ReadTimeout < 0 || c.StoreTimeout < 0 || c.Space < 0 {
		faults = append(faults, errors.New("time-outs and space: want no negative values"))
	}
	space := cmp.Or(c.Space, webhookSpace)
	if space < smallBody {
		faults = append(faults, fmt.Errorf("space: want at least %d bytes", smallBody))
	}
	meters, err := newWebhookMeters(cmp.Or[metric.Meter](c.Meter, noop.Meter{}))
	if err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	open, closeAll := context.WithCancel(context.Background())
	return &Webhooks{
		routes:       c.Routes,
		unrouted:     c.Unrouted,
		readTimeout:  cmp.Or(c.ReadTimeout, readTimeout),
		storeTimeout: cmp.Or(c.StoreTimeout, storeTimeout),
		space:        semaphore.NewWeighted(space),
		large:        semaphore.NewWeighted(largeBodies),
		fetches:      semaphore.NewWeighted(maxFetches),
		gates:        gates{of: make(map[string]*gate)},
		log:          cmp.Or(c.Logger, slog.Default()),
		meters:       meters,
		close:        closeAll,
		onClose:      func(f func()) func() bool { return context.AfterFunc(open, f) },
	}, nil
}

// Close ends the fetching of media that requests left behind and waits for it.
// Those requests were answered with 503: Meta sends them again. The server
// must have stopped before.
func (w *Webhooks) Close() {
	w.close()
	w.detached.Wait()
}

// ServeHTTP implements http.Handler.
func (w *Webhooks) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	// Whatever becomes of a request: the server reads the rest of its body before
	// it lets go of the connection, and would wait for it without end.
	deadline(rw, time.Now().Add(w.readTimeout))
	routes := w.routes.table.Load()
	var verifier *app
	if r.URL.Path == WebhookPath {
		verifier = routes.apps[""]
	} else if id, found := strings.CutPrefix(r.URL.Path, WebhookPath+"/"); found && id != "" {
		verifier = routes.apps[id]
	}
	switch {
	case verifier == nil:
		w.refuse(rw, r, refusedPath)
	case r.Method == http.MethodGet:
		w.handshake(rw, r, verifier)
	case r.Method == http.MethodPost:
		w.post(rw, r, routes, verifier)
	default:
		rw.Header().Set("Allow", "GET, POST")
		w.refuse(rw, r, refusedMethod)
	}
}

// handshake answers Meta's question whether this is the place, and ours.
func (w *Webhooks) handshake(rw http.ResponseWriter, r *http.Request, a *app) {
	query := r.URL.Query()
	challenge := query.Get("hub.challenge")
	if query.Get("hub.mode") != "subscribe" || challenge == "" || len(challenge) > maxChallenge ||
		!a.knows(query.Get("hub.verify_token")) {
		w.refuse(rw, r, refusedVerify)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	//nolint:gosec // the challenge goes back as plain text, which nosniff holds browsers to
	if _, err := rw.Write([]byte(challenge)); err != nil {
		w.log.Debug("the answer to a webhook handshake was not taken", "error", err)
	}
}

// knows compares token with every verify token, in a time that tells nothing.
func (a *app) knows(token string) bool {
	given := sha256.Sum256([]byte(token))
	known := 0
	for _, t := range a.tokens {
		want := sha256.Sum256([]byte(t))
		known |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return known == 1
}

// post takes one webhook request.
func (w *Webhooks) post(rw http.ResponseWriter, r *http.Request, routes *table, a *app) {
	if reason := examine(r); reason != "" {
		w.refuse(rw, r, reason)
		return
	}
	room := &space{hooks: w}
	defer room.release()
	body, reason := w.read(rw, r, room)
	if reason != "" {
		w.refuse(rw, r, reason)
		return
	}
	secret := a.verifiedBy(body, r.Header.Get(signatureHeader))
	if secret == "" {
		w.refuse(rw, r, refusedSignature)
		return
	}
	if !room.grow(requestSpace) {
		w.refuse(rw, r, refusedBusy)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), w.storeTimeout)
	defer cancel()
	d := delivery{hooks: w, routes: routes, secret: secret, receipt: newReceipt(), trace: traceOf(r)}
	switch err := d.store(ctx, body); {
	case errors.Is(err, errBehind):
		w.refuse(rw, r, refusedBusy)
		return
	case err != nil:
		w.log.Warn("a webhook was not stored; Meta will send it again", "error", err)
		w.refuse(rw, r, refusedStore)
		return
	}
	rw.WriteHeader(http.StatusOK)
}

// refuse answers a request that is not taken, and counts it.
func (w *Webhooks) refuse(rw http.ResponseWriter, r *http.Request, reason refusal) {
	w.meters.refused.Add(r.Context(), 1, w.meters.reasons[reason])
	status := reason.status()
	switch {
	case status == http.StatusServiceUnavailable:
		rw.Header().Set("Retry-After", "1")
	case r.Method == http.MethodPost && reason != refusedSignature:
		// What was not read of it is not worth reading. A forged one was read, and
		// another connection would cost more than another request on this one.
		rw.Header().Set("Connection", "close")
	}
	http.Error(rw, http.StatusText(status), status)
}
