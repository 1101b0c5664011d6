package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Notice is one thing that happened: accepted, status, message (a user wrote),
// read (by the business), user (settings), connected, disconnected, token,
// fault, violation, lost (notices that this listener was too slow for).
type Notice struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	Session string    `json:"session,omitempty"`
	Number  string    `json:"number,omitempty"`
	Text    string    `json:"text,omitempty"`
	Message *Message  `json:"message,omitempty"`
}

// stream fans notices out. Nobody waits for a slow listener.
type stream struct {
	listening atomic.Int32
	mu        sync.Mutex
	closed    bool
	listeners map[*listener]struct{}
}

type listener struct {
	ch   chan Notice
	lost int
}

func newStream() *stream { return &stream{listeners: map[*listener]struct{}{}} }

func (st *stream) listen() *listener {
	l := &listener{ch: make(chan Notice, 1024)}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		close(l.ch)
		return l
	}
	st.listeners[l] = struct{}{}
	st.listening.Add(1)
	return l
}

func (st *stream) leave(l *listener) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, ok := st.listeners[l]; ok {
		delete(st.listeners, l)
		st.listening.Add(-1)
	}
}

func (st *stream) close() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closed = true
	for l := range st.listeners {
		delete(st.listeners, l)
		st.listening.Add(-1)
		close(l.ch)
	}
}

// tell passes a notice on. Call it with Simulator.mu held: the message is
// copied as it is now.
func (s *Simulator) tell(n Notice) {
	if s.stream.listening.Load() == 0 {
		return
	}
	n.At = time.Now()
	if n.Message != nil {
		m := *n.Message
		n.Message = &m
	}
	s.stream.mu.Lock()
	defer s.stream.mu.Unlock()
	for l := range s.stream.listeners {
		if l.lost > 0 {
			select {
			case l.ch <- Notice{At: n.At, Kind: "lost", Text: fmt.Sprint(l.lost)}:
				l.lost = 0
			default:
			}
		}
		select {
		case l.ch <- n:
		default:
			l.lost++
		}
	}
}

// Subscribe gives every notice from now on until stop is called or the
// simulator ends; then the channel is closed or silent. A listener that is
// more than 1,024 notices behind loses some and is told so.
func (s *Simulator) Subscribe() (notices <-chan Notice, stop func()) {
	l := s.stream.listen()
	return l.ch, func() { s.stream.leave(l) }
}

// serveStream writes notices as server-sent events.
func (s *Simulator) serveStream(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if rc.Flush() != nil {
		return // the client has left
	}
	l := s.stream.listen()
	defer s.stream.leave(l)
	alive := time.NewTicker(pingEvery)
	defer alive.Stop()
	for {
		var line []byte
		select {
		case <-r.Context().Done():
			return
		case <-alive.C:
			line = []byte(": alive\n\n")
		case n, ok := <-l.ch:
			if !ok {
				return
			}
			data, err := json.Marshal(n)
			if err != nil {
				s.log.Error("writing notice", "error", err)
				continue
			}
			line = fmt.Appendf(nil, "data: %s\n\n", data)
		}
		if _, err := w.Write(line); err != nil {
			return // the client has left
		}
		if len(l.ch) == 0 && rc.Flush() != nil {
			return
		}
	}
}
