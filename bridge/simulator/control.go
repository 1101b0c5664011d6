package simulator

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

//go:embed control.md
var manual []byte

// maxControl bounds the body of a control request.
const maxControl = 128 << 20

func (s *Simulator) serveManual(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	_, _ = w.Write(manual) // the client may have left
}

// controlRoutes is the control API; control.md describes it.
func (s *Simulator) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /control/{$}", s.serveManual)
	handle := func(pattern string, fn func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxControl)
			v, err := fn(r)
			var missing *notFound
			switch {
			case errors.As(err, &missing):
				writeJSON(w, http.StatusNotFound, map[string]string{"error": err.Error()})
			case err != nil:
				writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			default:
				writeJSON(w, http.StatusOK, v)
			}
		})
	}
	handle("GET /control/stats", func(*http.Request) (any, error) { return s.Stats(), nil })
	handle("GET /control/violations", func(*http.Request) (any, error) { return s.Violations(), nil })
	handle("GET /control/users", func(*http.Request) (any, error) { return s.Users(), nil })
	handle("POST /control/users", s.controlSetUser)
	handle("GET /control/users/{number}", s.controlPhone)
	handle("POST /control/users/{number}/messages", s.controlWrite)
	handle("POST /control/users/{number}/read", s.controlRead)
	handle("GET /control/messages", s.controlSent)
	handle("GET /control/repeats", func(r *http.Request) (any, error) { return s.Repeats(r.FormValue("session")), nil })
	handle("GET /control/faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	handle("POST /control/faults", s.controlFault)
	handle("DELETE /control/faults", func(*http.Request) (any, error) { return map[string]int{"removed": s.RemoveFault("")}, nil })
	handle("DELETE /control/faults/{id}", func(r *http.Request) (any, error) {
		return map[string]int{"removed": s.RemoveFault(r.PathValue("id"))}, nil
	})
	handle("POST /control/events", s.controlEmit)
	handle("POST /control/webhook", s.controlEmitWebhook)
	handle("POST /control/load", s.controlLoad)
	handle("POST /control/sessions", s.controlSession)
	handle("DELETE /control/sessions/{id}", func(r *http.Request) (any, error) {
		return map[string]bool{"removed": s.RemoveSession(r.PathValue("id"))}, nil
	})
	handle("POST /control/sessions/{id}/epoch", func(r *http.Request) (any, error) {
		epoch, err := s.NewEpoch(r.PathValue("id"))
		return map[string]string{"epoch": epoch}, err
	})
	handle("POST /control/sessions/{id}/verify", func(r *http.Request) (any, error) {
		return map[string]bool{"verified": true}, s.VerifyWebhook(r.Context(), r.PathValue("id"))
	})
	handle("POST /control/sessions/{id}/code", func(r *http.Request) (any, error) {
		code, err := s.SignupCode(r.PathValue("id"))
		return map[string]string{"code": code}, err
	})
	handle("POST /control/media", s.controlMedia)
	handle("POST /control/clients", s.controlClient)
	handle("POST /control/tokens", s.controlTokens)
	mux.HandleFunc("GET /control/stream", s.serveStream)
	return mux
}

// notFound is answered with 404.
type notFound struct{ what string }

func (e *notFound) Error() string { return "no such " + e.what }

// readJSON reads a request's body strictly: a misspelt field is an error.
func readJSON(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	return nil
}

func readBody(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return b, nil
}

func (s *Simulator) controlSetUser(r *http.Request) (any, error) {
	var u User
	if err := readJSON(r, &u); err != nil {
		return nil, err
	}
	if err := s.SetUser(u); err != nil {
		return nil, err
	}
	p, _ := s.Phone(u.Number)
	return p.User, nil
}

func (s *Simulator) controlPhone(r *http.Request) (any, error) {
	p, ok := s.Phone(r.PathValue("number"))
	if !ok {
		return nil, &notFound{"user"}
	}
	return p, nil
}

func (s *Simulator) controlWrite(r *http.Request) (any, error) {
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	id, err := s.Write(r.PathValue("number"), b)
	return map[string]string{"id": id}, err
}

func (s *Simulator) controlRead(r *http.Request) (any, error) {
	var q struct {
		ID string `json:"id"`
	}
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	return q, s.Read(r.PathValue("number"), q.ID)
}

func (s *Simulator) controlSent(r *http.Request) (any, error) {
	after, err1 := intValue(r, "after", 0)
	limit, err2 := intValue(r, "limit", 100_000)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	list, next := s.Sent(r.FormValue("session"), after, limit)
	return struct {
		Messages []Message `json:"messages"`
		Next     int       `json:"next"`
	}{list, next}, nil
}

func intValue(r *http.Request, name string, preset int) (int, error) {
	v := r.FormValue(name)
	if v == "" {
		return preset, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is not a number", name)
	}
	return n, nil
}

func (s *Simulator) controlFault(r *http.Request) (any, error) {
	var f Fault
	if err := readJSON(r, &f); err != nil {
		return nil, err
	}
	id, err := s.AddFault(f)
	return map[string]string{"id": id}, err
}

func (s *Simulator) controlEmit(r *http.Request) (any, error) {
	q := r.URL.Query()
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	sequence, err := s.Emit(q.Get("session"), q.Get("type"), q.Get("subject"), b)
	return map[string]uint64{"sequence": sequence}, err
}

func (s *Simulator) controlEmitWebhook(r *http.Request) (any, error) {
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	n, err := s.EmitWebhook(r.URL.Query().Get("session"), b)
	return map[string]int{"events": n}, err
}

func (s *Simulator) controlLoad(r *http.Request) (any, error) {
	var l Load
	if err := readJSON(r, &l); err != nil {
		return nil, err
	}
	n, err := s.Inject(r.Context(), l)
	return map[string]int{"injected": n}, err
}

func (s *Simulator) controlMedia(r *http.Request) (any, error) {
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": s.AddMedia(r.Header.Get("Content-Type"), b)}, nil
}

func (s *Simulator) controlSession(r *http.Request) (any, error) {
	var c SessionConfig
	if err := readJSON(r, &c); err != nil {
		return nil, err
	}
	return map[string]string{"id": c.ID}, s.AddSession(c)
}

func (s *Simulator) controlClient(r *http.Request) (any, error) {
	var c Client
	if err := readJSON(r, &c); err != nil {
		return nil, err
	}
	return map[string]string{"id": c.ID}, s.AddClient(c)
}

func (s *Simulator) controlTokens(r *http.Request) (any, error) {
	var q struct {
		Action  string   `json:"action"`
		Client  string   `json:"client"`
		In      Duration `json:"in"`
		Refresh bool     `json:"refresh"`
	}
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	switch q.Action {
	case "revoke":
		return map[string]int{"tokens": s.RevokeTokens(q.Client, q.Refresh)}, nil
	case "expire":
		return map[string]int{"tokens": s.ExpireTokens(q.Client, time.Duration(q.In))}, nil
	case "issue":
		access, refresh, err := s.IssueToken(q.Client)
		return map[string]string{"access_token": access, "refresh_token": refresh}, err
	}
	return nil, errors.New("action is not revoke, expire or issue")
}
