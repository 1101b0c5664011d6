package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
)

// health is the body of /livez and /readyz.
type health struct {
	Status string            `json:"status"` // "ok", "draining" or "not ready"
	Checks map[string]string `json:"checks,omitempty"`
}

// livez says that the process answers. It fails for nothing else: a restart
// mends neither NATS nor WhatsApp.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	s.answer(w, http.StatusOK, health{Status: "ok"})
}

// readyz runs every check, at the same time, and names the result of each.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	h := health{Status: "ok", Checks: s.check(r.Context())}
	status := http.StatusOK
	for _, result := range h.Checks {
		if result != "ok" {
			h.Status, status = "not ready", http.StatusServiceUnavailable
		}
	}
	if s.draining.Load() {
		h.Status, status = "draining", http.StatusServiceUnavailable
	}
	s.answer(w, status, h)
}

// check returns "ok" or the error of each check. One that outlives its time is
// not waited for.
func (s *Server) check(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CheckTimeout)
	defer cancel()
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		results = make(map[string]string, len(s.cfg.Checks))
	)
	for _, c := range s.cfg.Checks {
		wg.Go(func() {
			done := make(chan error, 1)
			go func() { done <- c.Check(ctx) }()
			var err error
			select {
			case err = <-done:
			case <-ctx.Done():
				err = ctx.Err()
			}
			result := "ok"
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				result = fmt.Sprintf("no answer within %s", s.cfg.CheckTimeout)
			case err != nil:
				result = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			results[c.Name] = result
		})
	}
	wg.Wait()
	return results
}

func (s *Server) answer(w http.ResponseWriter, status int, h health) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(h); err != nil {
		s.cfg.Logger.Debug("answering a health check", slog.Any("error", err)) // who asked is gone
	}
}
