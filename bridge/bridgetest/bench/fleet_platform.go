package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"wabridge/bridge/simulator"
)

// move is a session's socket that opened or closed, as the platform saw it.
type move struct {
	Session string `json:"session"`
	Up      bool   `json:"up"`
	At      int64  `json:"at"` // Unix nanoseconds
}

// standing is where the platform of a fleet stands.
type standing struct {
	Connected int    `json:"connected"` // sockets open now
	Accepted  int    `json:"accepted"`  // sends, each counted once
	Emitted   int    `json:"emitted"`   // events
	Unacked   int    `json:"unacked"`   // events, asked for by ?unacked
	Lost      bool   `json:"lost"`      // some of this was not heard
	Moves     []move `json:"moves"`     // from ?from on
}

// fleetPlatform is the simulated WhatsApp of a fleet, in a process of its own:
// it tells when sockets opened and closed, and sends events while it is asked to.
type fleetPlatform struct {
	sim      *simulator.Simulator
	sessions int

	mu      sync.Mutex
	told    standing
	stop    context.CancelFunc // of the load; nil while there is none
	pending sync.WaitGroup
}

func fleetSession(i int) string { return "fleet-" + strconv.Itoa(i) }

// runFleetPlatform serves until ctx ends, at the address that it is given.
func runFleetPlatform(ctx context.Context, addr string, sessions int) error {
	conf := simulator.Config{
		Clients: []simulator.Client{{ID: "bench", Secret: "bench"}}, TokenTTL: 24 * time.Hour, TranscriptLimit: 1,
	}
	for i := range sessions {
		conf.Sessions = append(conf.Sessions, simulator.SessionConfig{ID: fleetSession(i), NoStatuses: true})
	}
	sim, err := simulator.New(conf)
	if err != nil {
		return err
	}
	p := &fleetPlatform{sim: sim, sessions: sessions}
	notices, leave := sim.Subscribe()
	go p.hear(notices)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bench/standing", p.serveStanding)
	mux.HandleFunc("POST /bench/load", p.serveLoad)
	mux.Handle("/", sim.Handler())
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(err, sim.Close())
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	p.load(0)
	leave()
	return errors.Join(err, sim.Close(), server.Close())
}

func (p *fleetPlatform) hear(notices <-chan simulator.Notice) {
	for n := range notices {
		p.mu.Lock()
		switch n.Kind {
		case "connected":
			p.told.Connected++
			p.told.Moves = append(p.told.Moves, move{Session: n.Session, Up: true, At: n.At.UnixNano()})
		case "disconnected":
			p.told.Connected--
			p.told.Moves = append(p.told.Moves, move{Session: n.Session, At: n.At.UnixNano()})
		case "accepted":
			p.told.Accepted++
		case "lost":
			p.told.Lost = true
		}
		p.mu.Unlock()
	}
}

func (p *fleetPlatform) serveStanding(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.Atoi(r.FormValue("from"))
	if err != nil || from < 0 {
		http.Error(w, "from: want a number", http.StatusBadRequest)
		return
	}
	unacked := 0
	if r.Form.Has("unacked") {
		for _, one := range p.sim.Stats().Sessions {
			unacked += one.Unacked
		}
	}
	p.mu.Lock()
	now := p.told
	p.mu.Unlock()
	// Without the lock, which hear needs: moves are appended and not changed.
	now.Moves, now.Unacked = now.Moves[min(from, len(now.Moves)):], unacked
	body, err := json.Marshal(now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body) // who asked may have left
}

func (p *fleetPlatform) serveLoad(w http.ResponseWriter, r *http.Request) {
	rate, err := strconv.Atoi(r.FormValue("rate"))
	if err != nil || rate < 0 {
		http.Error(w, "rate: want a number", http.StatusBadRequest)
		return
	}
	p.load(rate)
	w.WriteHeader(http.StatusNoContent)
}

// load sends rate events a second from here on, over all sessions in turn; 0 is
// none. It returns once the load before has ended.
func (p *fleetPlatform) load(rate int) {
	p.mu.Lock()
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
	p.mu.Unlock()
	p.pending.Wait()
	if rate == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.mu.Lock()
	p.stop = stop
	from := p.told.Emitted
	p.mu.Unlock()
	p.pending.Go(func() {
		begun := time.Now()
		for i := 0; ; i++ {
			for due := begun.Add(time.Duration(i) * time.Second / time.Duration(rate)); time.Now().Before(due); {
				if !nap(ctx) {
					return
				}
			}
			n := from + i
			if _, err := p.sim.Inject(ctx, simulator.Load{
				Session: fleetSession(n % p.sessions), Name: "fleet", From: n / p.sessions, Count: 1, Conversations: 5, Size: 512,
			}); err != nil {
				return // ctx or the simulator has ended
			}
			p.mu.Lock()
			p.told.Emitted++
			p.mu.Unlock()
		}
	})
}

// fleetClient asks the platform's process.
type fleetClient struct {
	addr string
	from int // moves that were read
}

// look gives where the platform stands, with the moves since the last look.
func (c *fleetClient) look(ctx context.Context, query string) (standing, error) {
	var s standing
	err := c.call(ctx, http.MethodGet, "/bench/standing?from="+strconv.Itoa(c.from)+query, &s)
	c.from += len(s.Moves)
	if err == nil && s.Lost {
		err = errors.New("the platform did not hear everything of itself")
	}
	return s, err
}

func (c *fleetClient) load(ctx context.Context, rate int) error {
	return c.call(ctx, http.MethodPost, "/bench/load?rate="+strconv.Itoa(rate), nil)
}

func (c *fleetClient) call(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// runFleet runs the roles of a fleet's measurement.
func runFleet(ctx context.Context, role string) error {
	if role == "fleet-nats" {
		return runFleetNode(ctx, os.Getenv("BENCH_NODE"))
	}
	sessions, err := strconv.Atoi(os.Getenv("BENCH_SESSIONS"))
	if err != nil {
		return err
	}
	return runFleetPlatform(ctx, os.Getenv("BENCH_PLATFORM"), sessions)
}
