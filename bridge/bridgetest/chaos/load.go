package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// load sends both ways: commands to WA_SEND, each until JetStream has it, and
// messages of users to the platform, each until the platform has it.
type load struct {
	w      *world
	ledger *ledger
	nc     *nats.Conn
	js     jetstream.JetStream

	commands chan int
	pending  []chan int // per session: how many messages to write
	begun    time.Time
	ended    atomic.Int64 // unix ns; 0 while it goes on

	mu   sync.Mutex
	lost chan struct{} // closed when the connection is back: answers were lost
}

const (
	publishers = 48
	// trickle is the part of the rate that goes on while the load waits for the
	// faults: they strike a system at work.
	trickle = 0.1
)

func newLoad(w *world, c *collector) (*load, error) {
	nc, js, err := w.connect("chaos load")
	if err != nil {
		return nil, err
	}
	l := &load{w: w, ledger: c.ledger, nc: nc, js: js, commands: make(chan int, 1<<20), lost: make(chan struct{})}
	nc.SetReconnectHandler(func(*nats.Conn) { l.again() })
	for range w.o.sessions {
		l.pending = append(l.pending, make(chan int, 1<<20))
	}
	return l, nil
}

// run releases every message in time and returns once all are published and
// written. progress says which part of the faults has begun.
func (l *load) run(ctx context.Context, progress func() float64) error {
	defer l.nc.Close()
	l.begun = time.Now()
	errs := make([]error, len(l.pending)+publishers)
	var work sync.WaitGroup
	for p := range publishers {
		work.Go(func() { errs[p] = l.publish(ctx) })
	}
	for s := range l.pending {
		work.Go(func() { errs[publishers+s] = l.write(ctx, s) })
	}
	l.pace(ctx, progress)
	close(l.commands)
	for _, p := range l.pending {
		close(p)
	}
	l.ended.Store(time.Now().UnixNano())
	work.Wait()
	return errors.Join(errs...)
}

// pace releases messages at the rate, alternating between the directions, and
// keeps some back so that there is load until the last fault.
func (l *load) pace(ctx context.Context, progress func() float64) {
	total := l.w.o.messages
	commands, users, turn := 0, 0, 0
	allowed := 0.0
	const step = 5 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	last := time.Now()
	for commands+users < total {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		grow := float64(l.w.o.rate) * now.Sub(last).Seconds()
		last = now
		if allowed > float64(total)*progress() {
			grow *= trickle
		}
		allowed = min(allowed+grow, float64(total))
		l.ledger.mu.Lock()
		for commands+users < int(allowed) {
			last := len(l.ledger.commands)
			if commands < last && (commands <= users || users == total-last) {
				l.ledger.commands[commands].released = now
				l.commands <- commands // there is room for all
				commands++
				continue
			}
			s := turn % len(l.pending)
			turn++
			l.ledger.users[s][users/len(l.pending)].released = now
			l.pending[s] <- 1 // likewise
			users++
		}
		l.ledger.mu.Unlock()
	}
}

func (l *load) publish(ctx context.Context) error {
	for i := range l.commands {
		if err := l.publishOne(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) publishOne(ctx context.Context, i int) error {
	s := l.ledger.session(i)
	m := nats.NewMsg("wa.send." + session(s))
	m.Header.Set(nats.MsgIdHdr, ref(i))
	m.Header["traceparent"] = []string{traceparent(i)}
	to := number(s, l.ledger.conversation(i))
	m.Data = fmt.Appendf(nil, `{"to":"+%s","text":"command %d"}`, to, i)
	if bad(i) {
		m.Data = fmt.Appendf(nil, `{"to":"+%s","type":"text"}`, to)
	}
	for {
		ack, err := l.attempt(ctx, m)
		if err == nil {
			l.ledger.mu.Lock()
			l.ledger.commands[i].sequence = ack.Sequence
			l.ledger.mu.Unlock()
			return nil
		}
		if !await(ctx, 50*time.Millisecond) {
			return fmt.Errorf("publishing command %d: %w", i, err)
		}
	}
}

// again has every publisher try again whose answer was lost with a connection.
func (l *load) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.lost)
	l.lost = make(chan struct{})
}

func (l *load) attempt(ctx context.Context, m *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	go func() {
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	return l.js.PublishMsg(ctx, m)
}

// write has the users of a session write what is due.
func (l *load) write(ctx context.Context, s int) error {
	next := 0
	for n := range l.pending[s] {
		for more := true; more; {
			select {
			case k, open := <-l.pending[s]:
				n, more = n+k, open
			default:
				more = false
			}
		}
		body := map[string]any{
			"session": session(s), "name": "u", "from": next, "count": n, "conversations": l.w.o.conversations, "size": 300,
		}
		// The call lasts as long as the bridge acknowledges too little.
		for {
			err := l.w.control.once(ctx, "POST", "/control/load", body, nil)
			if err == nil {
				break
			}
			if errors.Is(err, errRefused) || !await(ctx, 50*time.Millisecond) {
				return fmt.Errorf("writing messages of users of %s: %w", session(s), err)
			}
		}
		l.ledger.mu.Lock()
		for i := next; i < next+n; i++ {
			l.ledger.users[s][i].written = true
		}
		l.ledger.mu.Unlock()
		next += n
	}
	return nil
}
