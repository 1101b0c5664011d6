package chatapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// eventually waits until ok, which says what it sees otherwise.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// receive takes one value, or fails.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("not in %v: %s", patience, what)
		panic("unreachable")
	}
}

// host is a bridge.Host that stores at once, unless told otherwise.
type host struct {
	mu        sync.Mutex
	changes   []bridge.Change
	inbound   []*bridge.Inbound
	wakes     int
	positions map[string]uint64
	asked     int
	hold      bool // do not store what is taken
	held      []*bridge.Inbound
	block     chan struct{} // Receive waits for it to close; nil does not wait
	waiting   int
	closed    bool
}

func (h *host) Changed(c bridge.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes = append(h.changes, c)
}

func (h *host) Wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wakes++
}

func (h *host) Receive(ctx context.Context, in *bridge.Inbound) error {
	h.mu.Lock()
	block := h.block
	h.waiting++
	h.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
	if h.closed {
		return bridge.ErrClosed
	}
	h.inbound = append(h.inbound, in)
	if h.hold {
		h.held = append(h.held, in)
		return nil
	}
	in.Acker.Stored(in, nil)
	return nil
}

func (h *host) Position(_ context.Context, epoch string) (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if h.positions == nil {
		return 0, nil
	}
	position, known := h.positions[epoch]
	if !known {
		return 0, errors.New("JetStream is away")
	}
	return position, nil
}

// store stores what was held.
func (h *host) store() {
	h.mu.Lock()
	held := h.held
	h.held = nil
	h.mu.Unlock()
	for _, in := range held {
		in.Acker.Stored(in, nil)
	}
}

func (h *host) set(f func(h *host)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h)
}

// got lists what was taken, as "kind:sequence".
func (h *host) got() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	for _, in := range h.inbound {
		list = append(list, fmt.Sprintf("%d:%d", in.Kind, in.Sequence))
	}
	return strings.Join(list, " ")
}

// at returns the i-th thing taken.
func (h *host) at(i int) *bridge.Inbound {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.inbound[i]
}

// states lists the states that the session has been in.
func (h *host) states() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	for _, c := range h.changes {
		list = append(list, string(c.State))
	}
	return strings.Join(list, " ")
}

// last is the last change.
func (h *host) last() bridge.Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.changes) == 0 {
		return bridge.Change{}
	}
	return h.changes[len(h.changes)-1]
}

// tokens is an auth.Source of tokens that are numbered.
type tokens struct {
	mu      sync.Mutex
	n       int
	current string
	life    time.Duration
	refused []string
	err     error
	fixed   bool
}

func (s *tokens) Token(context.Context) (auth.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return auth.Token{}, s.err
	}
	if s.current == "" || s.life > 0 && !s.fixed {
		s.n++
		s.current = fmt.Sprintf("secret-token-%d", s.n)
	}
	token := auth.Token{AccessToken: s.current}
	if s.life > 0 {
		token.Expiry = time.Now().Add(s.life)
	}
	return token, nil
}

func (s *tokens) Invalidate(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, token)
	if token == s.current && !s.fixed {
		s.current = ""
	}
}

func (s *tokens) set(f func(s *tokens)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}
