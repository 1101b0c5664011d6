package simulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Simulator is one platform. Its methods are safe for concurrent use.
type Simulator struct {
	cfg    Config
	log    *slog.Logger
	tokens *tokens
	clock  *scheduler
	stream *stream
	state  *stateLog // nil without Config.StateDir
	wamids wamids
	hooks  *dispatcher
	mux    http.Handler

	stop chan struct{} // closed by Close
	wg   sync.WaitGroup

	mu       sync.Mutex // guards everything below, and what it points to
	closed   bool
	sessions map[string]*session
	users    map[string]*user
	media    map[string]*media
	logins   map[string]*login
	faults   []*Fault
	faultSeq int
	mediaSeq int
	frames   uint64 // frames that are no events, for their ids
	stats    Stats
	broken   []Violation
}

// New builds a simulator. With Config.StateDir it first reads back what an
// earlier one knew.
func New(cfg Config) (*Simulator, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configuring simulator: %w", err)
	}
	cfg.Delays.setDefaults()
	if cfg.TranscriptLimit == 0 {
		cfg.TranscriptLimit = 100
	}
	s := &Simulator{
		cfg: cfg, log: cfg.Logger, tokens: newTokens(cfg.TokenTTL), stream: newStream(), stop: make(chan struct{}),
		sessions: map[string]*session{}, users: map[string]*user{}, media: map[string]*media{}, logins: map[string]*login{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.wamids.boot = rand.Text()[:7]
	s.clock = newScheduler(&s.mu)
	s.hooks = newDispatcher(s)
	s.tokens.changed = s.recheckTokens
	for _, c := range cfg.Clients {
		s.tokens.addClient(c)
	}
	if cfg.StateDir != "" {
		if err := s.openState(cfg.StateDir); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.tokens.record, s.tokens.rotated = s.state.token, s.state.refresh
	}
	for _, c := range cfg.Sessions {
		if err := s.AddSession(c); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.mu.Lock()
	s.resume()
	s.mu.Unlock()
	s.flush()
	s.mux = s.routes()
	s.wg.Go(func() { s.clock.run(s.stop) })
	if s.state != nil {
		s.wg.Go(s.housekeeping)
	}
	return s, nil
}

// Handler serves OAuth, the Chat API, Graph and the control API.
func (s *Simulator) Handler() http.Handler { return s.mux }

// Serve answers on l until ctx ends or the simulator is closed; then it says
// going away to everyone and returns nil.
func (s *Simulator) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: s.mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	failed := make(chan error, 1)
	s.wg.Go(func() { failed <- srv.Serve(l) })
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	case <-s.stop:
	}
	s.hangUp()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if stopping := srv.Shutdown(grace); stopping != nil {
		err = errors.Join(err, srv.Close())
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// hangUp closes every connection with 1001 and ends the streams.
func (s *Simulator) hangUp() {
	s.stream.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		if sess.conn != nil {
			sess.conn.shut(1001, "going away")
		}
	}
}

// Close ends every connection and goroutine and waits for them. It may be
// called more than once.
func (s *Simulator) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.stop)
	}
	s.hangUp()
	s.wg.Wait()
	if s.state == nil || !first {
		return nil
	}
	return s.state.close()
}

// AddSession makes a session known; one that is there already gets the new
// settings and keeps its events.
func (s *Simulator) AddSession(c SessionConfig) error {
	if err := c.validate(); err != nil {
		return err
	}
	c = c.WithDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[c.ID]
	if sess == nil {
		sess = newSession(c)
		s.sessions[c.ID] = sess
	}
	sess.cfg = c
	s.hooks.ensure(sess)
	if c.Webhook != nil && c.Webhook.Token != "" {
		s.tokens.put(c.Webhook.Token, c.Webhook.AppID, []string{ScopeMessaging, ScopeManagement})
	}
	s.state.session(sess)
	return nil
}

// RemoveSession forgets a session and closes its connection. It tells whether
// there was one.
func (s *Simulator) RemoveSession(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[id]
	if sess == nil {
		return false
	}
	delete(s.sessions, id)
	if sess.conn != nil {
		sess.conn.shut(4403, "session removed")
	}
	return true
}

// AddClient makes an OAuth client known, or changes it.
func (s *Simulator) AddClient(c Client) error {
	if err := c.validate(); err != nil {
		return err
	}
	s.tokens.addClient(c)
	return nil
}

// count changes the statistics.
func (s *Simulator) count(fn func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.stats)
}

// flush makes what is remembered survive a kill of the process. It is called
// before anyone is told.
func (s *Simulator) flush() {
	if err := s.state.flush(); err != nil {
		s.log.Error("keeping state", "error", err)
	}
}

// housekeeping drops what nobody needs any more, now and then.
func (s *Simulator) housekeeping() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.flush()
			if err := s.pruneState(); err != nil {
				s.log.Error("keeping state", "error", err)
			}
		}
	}
}

// NewEpoch starts a session's numbering again from 1: what was not
// acknowledged is lost, and the connection closes with 1001.
func (s *Simulator) NewEpoch(id string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[id]
	if sess == nil {
		return "", fmt.Errorf("starting epoch: no session %q", id)
	}
	sess.epoch, sess.log, sess.written = rand.Text()[:12], eventLog{}, 0
	s.state.session(sess)
	sess.drained()
	if sess.conn != nil {
		sess.conn.shut(1001, "new epoch")
	}
	return sess.epoch, nil
}
