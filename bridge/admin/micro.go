package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"wabridge/bridge"
)

// MicroName is the service's name under $SRV.
const MicroName = "wabridge"

const (
	// microTimeout bounds a request other than a send.
	microTimeout = 10 * time.Second
	// SendTimeout bounds the wait of a send for its outcome.
	SendTimeout = 30 * time.Second
	// microRequests bounds the requests that are worked on at once; one more is
	// answered "busy", so that those who wait for outcomes do not pile up.
	microRequests = 256
)

// ErrInvalid is wrapped by errors of what a request asks for: its answer says
// 400.
var ErrInvalid = errors.New("invalid request")

// Control carries out what is asked of the micro service. Every method blocks
// until it is done or ctx ends, and is safe for concurrent use. Their errors are
// shown to whoever asks: one line, no secret. Those that wrap ErrInvalid,
// bridge.ErrNotFound, bridge.ErrConflict or context.DeadlineExceeded have codes
// of their own; every other is a fault of the bridge.
type Control interface {
	// Status gives one session's status, or that of all where session is empty,
	// as something that marshals to JSON.
	Status(ctx context.Context, session string) (any, error)
	// SetPaused pauses or resumes a session; the answer says what came of it.
	SetPaused(ctx context.Context, session string, paused bool) (any, error)
	// Redrive sends a dead letter of the session again, by its sequence.
	Redrive(ctx context.Context, session string, sequence uint64, options []byte) (any, error)
	// Send stores a command and waits for its outcome. An answer beside an error
	// says how far it came.
	Send(ctx context.Context, session string, header map[string][]string, body []byte) (any, error)
}

// MicroConfig says what a Micro serves. Every field but Logger is needed.
type MicroConfig struct {
	Conn    *nats.Conn
	Names   bridge.Names
	Control Control
	// Version is shown to who asks; it need not be one of semver.
	Version string
	// Replica is shown in the service's metadata.
	Replica string
	// Logger may be nil.
	Logger *slog.Logger
}

// Micro is the NATS micro service of one process: what `nats micro` finds and
// `nats req` asks. Whoever may publish to its subjects may use it: access is a
// matter of NATS permissions. Replicas share a queue group: any of them answers.
type Micro struct {
	cfg   MicroConfig
	slots chan struct{}

	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup
}

// NewMicro returns a service that answers nothing before Run.
func NewMicro(cfg MicroConfig) *Micro {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Micro{cfg: cfg, slots: make(chan struct{}, microRequests)}
}

// endpoint is one thing that can be asked.
type endpoint struct {
	name, subject, description string
	timeout                    time.Duration
	answer                     func(ctx context.Context, session string, r micro.Request) (any, error)
}

func (m *Micro) endpoints() []endpoint {
	c := m.cfg.Control
	pause := func(paused bool) func(context.Context, string, micro.Request) (any, error) {
		return func(ctx context.Context, session string, _ micro.Request) (any, error) {
			return c.SetPaused(ctx, session, paused)
		}
	}
	status := func(ctx context.Context, session string, _ micro.Request) (any, error) { return c.Status(ctx, session) }
	return []endpoint{
		{"status-all", "status", "the status of every session", microTimeout, status},
		{"status", "status.*", "the status of a session", microTimeout, status},
		{"pause", "pause.*", "pause a session; its commands wait", microTimeout, pause(true)},
		{"resume", "resume.*", "resume a session", microTimeout, pause(false)},
		{
			"redrive", "redrive.*", "send a dead letter of a session again; the body is its sequence", microTimeout,
			func(ctx context.Context, session string, r micro.Request) (any, error) {
				sequence, err := letterOf(r.Data())
				if err != nil {
					return nil, err
				}
				return c.Redrive(ctx, session, sequence, r.Data())
			},
		},
		{
			"send", "send.*", "send a command and answer with its outcome", SendTimeout,
			func(ctx context.Context, session string, r micro.Request) (any, error) {
				return c.Send(ctx, session, r.Headers(), r.Data())
			},
		},
	}
}

// letterOf reads the sequence of a dead letter: a bare number, or the member
// "sequence" of an object.
func letterOf(body []byte) (uint64, error) {
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(text, "{") {
		var in struct {
			Sequence json.Number `json:"sequence"`
		}
		if err := json.Unmarshal(body, &in); err != nil {
			return 0, fmt.Errorf("%w: the body is not JSON", ErrInvalid)
		}
		text = in.Sequence.String()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf(`%w: want the sequence of a dead letter, 17 or {"sequence": 17}`, ErrInvalid)
	}
	return n, nil
}

// Run answers requests until ctx ends, and then waits for those in work. It
// returns nil, or what kept it from beginning.
func (m *Micro) Run(ctx context.Context) error {
	service, err := micro.AddService(m.cfg.Conn, micro.Config{
		Name: MicroName, Version: semver(m.cfg.Version),
		Description: "WhatsApp on NATS: " + m.cfg.Names.Prefix() + ".*",
		Metadata:    map[string]string{"replica": m.cfg.Replica, "prefix": m.cfg.Names.Prefix(), "version": m.cfg.Version},
		ErrorHandler: func(_ micro.Service, err *micro.NATSError) {
			m.cfg.Logger.Warn("the micro service", slog.String("subject", err.Subject), slog.String("error", err.Description))
		},
	})
	if err != nil {
		return fmt.Errorf("starting the micro service: %w", err)
	}
	working, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	for _, e := range m.endpoints() {
		subject := m.cfg.Names.Control(e.subject)
		err = errors.Join(err, service.AddEndpoint(e.name, micro.HandlerFunc(func(r micro.Request) { m.take(working, &e, r) }),
			micro.WithEndpointSubject(subject), micro.WithEndpointMetadata(map[string]string{"description": e.description})))
	}
	if err == nil {
		<-ctx.Done()
	}
	if stopErr := service.Stop(); stopErr != nil && !m.cfg.Conn.IsClosed() {
		err = errors.Join(err, fmt.Errorf("stopping the micro service: %w", stopErr))
	}
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	end() // a send that waits answers how far it came: its command is stored
	m.requests.Wait()
	return err
}

// take works on a request beside the others.
func (m *Micro) take(ctx context.Context, e *endpoint, r micro.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		m.refuse(r, "503", "this replica is stopping: ask again", nil)
		return
	}
	select {
	case m.slots <- struct{}{}:
	default:
		m.refuse(r, "503", "too many requests at once: ask again", nil)
		return
	}
	m.requests.Go(func() {
		defer func() { <-m.slots }()
		ctx, cancel := context.WithTimeout(ctx, e.timeout)
		defer cancel()
		m.answer(ctx, e, r)
	})
}

func (m *Micro) answer(ctx context.Context, e *endpoint, r micro.Request) {
	session := ""
	if strings.HasSuffix(e.subject, ".*") {
		session = r.Subject()[strings.LastIndexByte(r.Subject(), '.')+1:]
		if !bridge.ValidID(session) {
			m.refuse(r, "400", "the last token of the subject is no session: want 1 to 64 letters, digits, _ or -", nil)
			return
		}
	}
	answer, err := e.answer(ctx, session, r)
	if err != nil {
		m.refuse(r, code(err), line(err), answer)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		m.cfg.Logger.Error("an answer cannot be written", slog.String("endpoint", e.name), slog.Any("error", err))
		m.refuse(r, "500", "the answer cannot be written", nil)
		return
	}
	m.respond(r, nil, body)
}

// refuse answers with an error of the micro protocol.
func (m *Micro) refuse(r micro.Request, code, description string, partly any) {
	var body []byte
	if partly != nil {
		var err error
		if body, err = json.Marshal(partly); err != nil {
			m.cfg.Logger.Error("an answer cannot be written", slog.Any("error", err))
		}
	}
	m.respond(r, nats.Header{micro.ErrorHeader: {description}, micro.ErrorCodeHeader: {code}}, body)
}

// respond answers on the connection itself: a micro.Request notes an error in a
// field that its service reads as soon as take has returned.
func (m *Micro) respond(r micro.Request, header nats.Header, body []byte) {
	if r.Reply() == "" {
		return // nobody waits
	}
	if err := m.cfg.Conn.PublishMsg(&nats.Msg{Subject: r.Reply(), Header: header, Data: body}); err != nil {
		m.cfg.Logger.Debug("answering a request", slog.String("subject", r.Subject()), slog.Any("error", err))
	}
}

// code is that of HTTP.
func code(err error) string {
	switch {
	case errors.Is(err, ErrInvalid):
		return "400"
	case errors.Is(err, bridge.ErrNotFound):
		return "404"
	case errors.Is(err, bridge.ErrConflict):
		return "409"
	case errors.Is(err, context.Canceled):
		return "503"
	case errors.Is(err, context.DeadlineExceeded):
		return "504"
	default:
		return "500"
	}
}

// line keeps an error to one line, which a header can hold.
func line(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// semver makes a version that the micro protocol takes.
func semver(version string) string {
	v := strings.TrimPrefix(version, "v")
	core, _, _ := strings.Cut(v, "-")
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return "0.0.0"
	}
	for _, p := range parts {
		if n, err := strconv.ParseUint(p, 10, 32); err != nil || strconv.FormatUint(n, 10) != p {
			return "0.0.0"
		}
	}
	return core
}
