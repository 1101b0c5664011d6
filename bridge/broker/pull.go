package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// pullRecords is how many messages may be on their way; more are asked for
	// when half of them came.
	pullRecords = 512
	// pullBytes bounds one request. A bound below the largest message would
	// stall.
	pullBytes     = 4 << 20
	pullExpiry    = 30 * time.Second
	pullHeartbeat = 5 * time.Second
)

// pull is one subscription to a consumer, from where it was made or reset to
// the first trouble. It pulls by itself, where jetstream.Consume would do but
// for two things: it must know at once when a request is lost, and jetstream
// takes an empty message with a header "Status" for the server's own word, so
// that a command like that would be missing whenever it is read.
type pull struct {
	nc     *nats.Conn
	handle func(*nats.Msg, position) error // an error of it is trouble, too
	broken chan error                      // takes the first trouble
	// reconnected: what the server sent into the lost connection is missing.
	reconnected <-chan struct{}

	sub  *nats.Subscription
	next string // the subject of requests

	mu     sync.Mutex // held while a message is handled
	closed bool
	last   uint64 // the consumer's sequence of the last message
	asked  int    // what requests are open for

	heardMu sync.Mutex
	heard   time.Time
}

// newPull subscribes and asks for the first messages.
func (b *Broker) newPull(stream, consumer string, handle func(*nats.Msg, position) error) (*pull, error) {
	p := &pull{
		nc:          b.nc,
		handle:      handle,
		broken:      make(chan error, 1),
		reconnected: b.reopen.wait(),
		next:        b.apiSubject("CONSUMER.MSG.NEXT", stream+"."+consumer),
	}
	return p, p.begin()
}

// begin subscribes and asks. The connection keeps what comes until the handler
// has time, at most what was asked for.
func (p *pull) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hear()
	sub, err := p.nc.Subscribe(p.nc.NewInbox(), p.receive)
	if err != nil {
		return err
	}
	p.sub = sub
	if err := errors.Join(sub.SetPendingLimits(-1, -1), p.ask()); err != nil {
		return errors.Join(err, sub.Unsubscribe())
	}
	return nil
}

// ask requests as many messages as may be on their way.
func (p *pull) ask() error {
	request, err := json.Marshal(struct {
		Expires   time.Duration `json:"expires"`
		Batch     int           `json:"batch"`
		MaxBytes  int64         `json:"max_bytes"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{pullExpiry, pullRecords - p.asked, max(pullBytes, 2*p.nc.MaxPayload()), pullHeartbeat})
	if err != nil {
		return err
	}
	p.asked = pullRecords
	return p.nc.PublishRequest(p.next, p.sub.Subject, request)
}

func (p *pull) receive(m *nats.Msg) {
	p.hear()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	var err error
	if strings.HasPrefix(m.Reply, "$JS.ACK.") {
		err = p.message(m)
	} else {
		err = p.status(m)
	}
	if err == nil && p.asked <= pullRecords/2 {
		err = p.ask()
	}
	if err != nil {
		p.closed = true
		p.broken <- err
	}
}

// message passes a message on where it follows the one before, from the first
// after the reset. A gap means that one was lost on its way, or that the reset
// was: a server that shuts down may answer it and deliver on from where it was.
// What is missing would come only later, behind what is newer.
func (p *pull) message(m *nats.Msg) error {
	at, err := readPosition(m.Reply)
	if err != nil {
		return err
	}
	if at.consumer != p.last+1 {
		return fmt.Errorf("delivery %d follows %d", at.consumer, p.last)
	}
	p.last = at.consumer
	p.asked--
	return p.handle(m, at)
}

// status takes what the server says about a request.
func (p *pull) status(m *nats.Msg) error {
	status, description := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case status == "100":
		return nil
	case status == "404", status == "408",
		status == "409" && (strings.Contains(description, "MaxBytes") || strings.Contains(description, "Batch Completed")):
		// The request ended with a part of it open.
		left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			return fmt.Errorf("the server ends a request and does not say what of it is left: %s %s", status, description)
		}
		p.asked = max(p.asked-left, 0)
		return nil
	default:
		return fmt.Errorf("the server refuses a request: %s %s", status, description)
	}
}

func (p *pull) hear() {
	p.heardMu.Lock()
	defer p.heardMu.Unlock()
	p.heard = time.Now()
}

// silent reports whether heartbeats fail to come, while no handler keeps them
// waiting.
func (p *pull) silent() bool {
	if !p.mu.TryLock() {
		return false
	}
	defer p.mu.Unlock()
	p.heardMu.Lock()
	defer p.heardMu.Unlock()
	return time.Since(p.heard) > 3*pullHeartbeat
}

// close returns once no handler runs and none will. It reports whether anything
// came.
func (p *pull) close() bool {
	// Failing to unsubscribe means that the connection is gone.
	_ = p.sub.Unsubscribe()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.last > 0
}
