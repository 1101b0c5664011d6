package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultAddr is where the server listens unless configured.
const DefaultAddr = "127.0.0.1:8088"

// AddrVariable names the environment variable that moves the address.
const AddrVariable = "WABRIDGE_ADMIN_ADDR"

// DefaultCheckTimeout bounds each readiness check unless configured.
const DefaultCheckTimeout = 2 * time.Second

// shutdownTimeout bounds how long Run waits for requests at its end.
const shutdownTimeout = 2 * time.Second

// Check is one thing that must hold for the process to be ready.
type Check struct {
	// Name stands in the answer.
	Name string
	// Check blocks until it knows or ctx ends. Its error is shown to whoever
	// asks, so it holds no secret.
	Check func(ctx context.Context) error
}

// Config says what a Server serves.
type Config struct {
	// Addr to listen on; empty means DefaultAddr.
	Addr string
	// Checks must all pass for /readyz to answer 200.
	Checks []Check
	// CheckTimeout bounds each check; 0 means DefaultCheckTimeout.
	CheckTimeout time.Duration
	// Metrics serves /metrics; nil leaves it out.
	Metrics http.Handler
	// Profiling serves /debug/pprof/.
	Profiling bool
	// Logger may be nil.
	Logger *slog.Logger
}

// Validate reports every fault of the configuration at once.
func (c *Config) Validate() error {
	var faults []error
	if _, _, err := net.SplitHostPort(c.Addr); c.Addr != "" && err != nil {
		faults = append(faults, fmt.Errorf("address: %w (%s)", err, AddrVariable))
	}
	for i, check := range c.Checks {
		if check.Name == "" || check.Check == nil {
			faults = append(faults, fmt.Errorf("check %d (%q) lacks its name or its function", i, check.Name))
		}
	}
	if c.CheckTimeout < 0 {
		faults = append(faults, fmt.Errorf("check timeout %s is negative", c.CheckTimeout))
	}
	return errors.Join(faults...)
}

// Server is the admin endpoint of one process.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	draining atomic.Bool
	closing  sync.Once
	closed   error
}

// New takes the address, so that a taken port is known before anything else
// starts; nothing is answered before Run. The error names what to change.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring the admin server: %w", err)
	}
	if cfg.Addr == "" {
		cfg.Addr = DefaultAddr
	}
	if cfg.CheckTimeout == 0 {
		cfg.CheckTimeout = DefaultCheckTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", cfg.Addr) // does not block
	if err != nil {
		return nil, fmt.Errorf("listening on the admin address (%s moves it): %w", AddrVariable, err)
	}
	s := &Server{cfg: cfg, listener: listener}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		// A CPU profile or an execution trace takes as long as it is asked to.
		WriteTimeout:   2 * time.Minute,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
	}
	return s, nil
}

// Addr is the address that the server has, with the port that it got.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Drain makes the process not ready from now on; it stays alive.
func (s *Server) Drain() { s.draining.Store(true) }

// Run serves until ctx ends, gives the requests in flight up to two seconds, and
// releases the address. It is called once.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving the admin address: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(stop)
	if err != nil {
		err = errors.Join(fmt.Errorf("ending admin requests: %w", err), s.http.Close())
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serving the admin address: %w", end))
	}
	return err
}

// Close releases the address of a server that was never run.
func (s *Server) Close() error {
	s.closing.Do(func() {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.closed = fmt.Errorf("closing the admin address: %w", err)
		}
	})
	return s.closed
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.livez)
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.cfg.Metrics != nil {
		mux.Handle("GET /metrics", s.cfg.Metrics)
	}
	if s.cfg.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}
