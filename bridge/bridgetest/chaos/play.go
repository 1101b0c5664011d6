package main

import (
	"context"
	"fmt"
	"time"
)

// play runs the load and the faults and waits until everything has come out. It
// says what is stuck where nothing moves any more.
func play(ctx context.Context, w *world, l *load, c *collector, s *storm) (stuck string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded, stormed := make(chan error, 1), make(chan struct{})
	go func() { loaded <- l.run(ctx, s.progress) }()
	go func() {
		s.run(ctx)
		close(stormed)
	}()
	w.log.printf("load begins: %d messages both ways together, %d faults, seed %d", w.o.messages, w.o.faults, w.o.seed)

	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var last int
	changed, said := time.Now(), time.Now()
	wait, storming, healed := loaded, stormed, false
	for {
		select {
		case <-ctx.Done():
			return "interrupted"
		case err := <-wait:
			if err != nil {
				return err.Error()
			}
			wait = nil
			w.log.printf("everything is published and written")
		case <-storming:
			storming = nil
			w.log.printf("the last fault is over")
		case <-tick.C:
		}
		if wait == nil && storming == nil && !healed {
			healed = true
			if err := w.heal(ctx); err != nil {
				return err.Error()
			}
		}
		moved, decided, read, stored := c.ledger.counts()
		if moved != last {
			last, changed = moved, time.Now()
		}
		if time.Since(said) >= 5*time.Second {
			said = time.Now()
			w.log.printf("%d of %d commands have an outcome, %d are read; %d of %d messages of users are stored; %d of %d faults",
				decided, len(c.ledger.commands), read, stored, w.o.messages-len(c.ledger.commands), s.began.Load(), len(s.faults))
		}
		switch {
		case healed && c.ledger.complete():
			w.log.printf("everything has come out")
			await(ctx, 2*time.Second) // a double would follow
			return ""
		case time.Since(changed) > w.o.patience:
			return fmt.Sprintf("nothing has moved for %v", w.o.patience)
		}
	}
}

// repeat is a send that the platform knew already.
type repeat struct {
	Ref         string
	ID          string
	At          time.Time
	Answered    bool
	Reconnected bool
}

// remember reads what a platform that is about to end would forget: which
// sends it knew already, and which it has answered.
func (w *world) remember(ctx context.Context) {
	for i := range w.o.sessions {
		var list []repeat
		if err := w.control.call(ctx, "GET", "/control/repeats?session="+session(i), nil, &list); err != nil {
			w.log.printf("reading the repeats of %s: %v", session(i), err)
			continue
		}
		sent, err := w.accepted(ctx, i, w.seen[i])
		if err != nil {
			w.log.printf("reading what %s sent: %v", session(i), err)
		}
		w.mu.Lock()
		w.repeats[i] = append(w.repeats[i], list...)
		for _, m := range sent {
			if m.Answered {
				w.answered[m.ID] = true
			}
		}
		w.mu.Unlock()
		w.seen[i] = max(0, w.seen[i]+len(sent)-unansweredTail)
	}
}

// unansweredTail is how many sends may be answered after a later one.
const unansweredTail = 2000

// delivered is a message as the platform took it.
type delivered struct {
	ID, Number, Ref, TraceParent, Status string
	At                                   time.Time
	Answered                             bool
}

// accepted reads what the platform took for a session, in order, from an index
// on.
func (w *world) accepted(ctx context.Context, s, from int) ([]delivered, error) {
	var all []delivered
	for next := from; ; {
		var page struct {
			Messages []delivered
			Next     int
		}
		path := fmt.Sprintf("/control/messages?session=%s&after=%d&limit=50000", session(s), next)
		if err := w.control.call(ctx, "GET", path, nil, &page); err != nil {
			return nil, err
		}
		if len(page.Messages) == 0 {
			return all, nil
		}
		all, next = append(all, page.Messages...), page.Next
	}
}
