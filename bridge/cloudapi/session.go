package cloudapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"wabridge/bridge"
	"wabridge/codec"
)

const (
	defaultWindow = 64
	// slowAnswer is how long Graph takes over a send, on a bad day: what a number
	// may send in that time is its window.
	slowAnswer   = 500 * time.Millisecond
	sendTimeout  = 30 * time.Second
	drainTimeout = 10 * time.Second
	// failuresInRow say that Graph is away, and not one connection.
	failuresInRow = 3
	// quietAfter is how long a send may be without an answer before the idle
	// connections are no longer trusted: after a silent cut they lead nowhere, and
	// each would take another send with it.
	quietAfter = 5 * time.Second
)

// Config says what a session is.
type Config struct {
	// ID is the session's, for logs and metrics.
	ID string
	// PhoneNumberID is the number that sends; WABAID, where given, the account
	// that the app subscribes to and that the token must reach.
	PhoneNumberID string
	WABAID        string
	Graph         *Graph
	// Media uploads what commands name by object or link; nil leaves both as
	// they are.
	Media *Media
	Host  bridge.Host
	// Window is how many sends are in flight at most; 0 is 64, and 500 for a number
	// that may send 1,000 a second.
	Window int
	// SendTimeout bounds one send; 0 is 30 s.
	SendTimeout time.Duration
	// Limits, where not nil, hears how fast the number may send, once Graph has
	// said so. It must not block.
	Limits func(Limits)
	// Logger is slog.Default where nil; Meter records nothing where nil.
	Logger *slog.Logger
	Meter  metric.Meter
}

// Session is one phone number on the Cloud API. It implements bridge.Session.
type Session struct {
	phoneID string
	wabaID  string
	graph   *Graph
	media   *Media
	host    bridge.Host
	fixed   bool // the window was configured
	timeout time.Duration
	quiet   time.Duration // quietAfter
	limits  func(Limits)
	log     *slog.Logger
	meters  sessionMeters

	window   atomic.Int64 // how many sends may be in flight
	open     atomic.Bool  // sends may go out
	slow     atomic.Bool  // Meta's limit is near
	held     atomic.Int64 // unix nanoseconds until which nothing is sent
	proven   atomic.Bool  // Graph took a send since the token was last refused
	failures atomic.Int32 // sends in a row that Graph did not answer

	// run's own:
	last       verdict // reported
	subscribed bool
	stale      string // the refused token that the source still gives, or ""
	partly     bool   // the last check did not come to its end

	losses  chan loss
	resumed chan struct{}
	recheck chan struct{}

	mu      sync.Mutex
	spawn   func() // starts a worker; nil while not running
	workers int
	queue   []*bridge.Outgoing
	wake    *time.Timer // ends a hold
}

// New returns a session, or every fault of c. It calls nobody.
func New(c Config) (*Session, error) {
	var faults []error
	if !validID(c.PhoneNumberID) {
		faults = append(faults, errors.New("phone number id: want Meta's id of the number, not the number"))
	}
	if c.WABAID != "" && !validID(c.WABAID) {
		faults = append(faults, errors.New("WABA id: want letters and digits"))
	}
	switch {
	case c.Graph == nil:
		faults = append(faults, errors.New("no Graph client"))
	case c.Graph.token == nil:
		faults = append(faults, errors.New("the Graph client has no token"))
	}
	if c.Host == nil {
		faults = append(faults, errors.New("no host"))
	}
	if c.Window < 0 || c.SendTimeout < 0 {
		faults = append(faults, errors.New("window and send time-out: want no negative values"))
	}
	meters, err := newSessionMeters(cmp.Or[metric.Meter](c.Meter, noop.Meter{}), c.ID)
	if err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("cloudapi session %s: %w", c.ID, err)
	}
	s := &Session{
		phoneID: c.PhoneNumberID,
		wabaID:  c.WABAID,
		graph:   c.Graph,
		media:   c.Media,
		host:    c.Host,
		fixed:   c.Window > 0,
		timeout: cmp.Or(c.SendTimeout, sendTimeout),
		quiet:   quietAfter,
		limits:  c.Limits,
		log:     cmp.Or(c.Logger, slog.Default()).With("session", c.ID),
		meters:  meters,
		losses:  make(chan loss, 1),
		resumed: make(chan struct{}, 1),
		recheck: make(chan struct{}, 1),
	}
	s.window.Store(int64(cmp.Or(c.Window, defaultWindow)))
	return s, nil
}

// Window implements bridge.Session.
func (s *Session) Window() int {
	window := int(s.window.Load())
	switch {
	case !s.open.Load():
		return 0
	case s.held.Load() != 0 && time.Now().UnixNano() < s.held.Load():
		return 0
	case s.slow.Load():
		return max(1, window/4)
	default:
		return window
	}
}

// Idempotent implements bridge.Session: Graph knows no idempotency key.
func (s *Session) Idempotent() bool { return false }

// Resume implements bridge.Session.
func (s *Session) Resume() { signal(s.resumed) }

// Recheck has the token inspected soon, as when Meta says that something about
// the account has changed. It does not block.
func (s *Session) Recheck() { signal(s.recheck) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// start lets Send start workers.
func (s *Session) start(ctx context.Context, workers *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn = func() { workers.Go(func() { s.work(ctx) }) }
}

// drain refuses what has not begun and waits for what has, until the bound,
// where stop ends it.
func (s *Session) drain(workers *sync.WaitGroup, stop context.CancelFunc) {
	s.open.Store(false)
	s.mu.Lock()
	s.spawn = nil
	queued := s.queue
	s.queue = nil
	if s.wake != nil {
		s.wake.Stop()
	}
	s.mu.Unlock()
	for _, out := range queued {
		out.Done(bridge.Result{Class: codec.Transient, Reason: "the session is stopping"})
	}
	late := time.AfterFunc(drainTimeout, stop)
	defer late.Stop()
	workers.Wait()
	s.graph.Close()
}

// failed notes that a send could not leave, or was not answered. Where several
// were not in a row, each further one may become a doubt, or worse: Graph is
// asked first.
func (s *Session) failed(reason string) {
	if s.failures.Add(1) >= failuresInRow {
		s.lost(loss{class: codec.Transient, reason: reason})
	}
}

// lost closes the session for sends and has run find out what follows.
func (s *Session) lost(l loss) {
	if !s.open.CompareAndSwap(true, false) {
		return
	}
	select {
	case s.losses <- l:
	default: // run has yet to look at the one before
	}
}

// used slows the session down as Meta's limit comes near, and holds it there.
func (s *Session) used(u usage) {
	slow := u.percent >= slowAt
	if s.slow.Load() != slow && s.slow.Swap(slow) && !slow {
		s.host.Wake()
	}
	hold := u.hold()
	if hold == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	until := time.Now().Add(hold).UnixNano()
	if s.spawn == nil || until < s.held.Load()+int64(time.Second) {
		return
	}
	s.held.Store(until)
	if s.wake != nil {
		s.wake.Stop()
	}
	s.wake = time.AfterFunc(hold, s.host.Wake)
	s.log.Warn("Meta's rate limit is used up; holding sends", "percent", u.percent, "for", hold)
}
