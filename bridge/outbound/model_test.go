package outbound

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"wabridge/bridge"
	"wabridge/codec"
)

// plan is what rapid draws for one run of the world.
type plan struct {
	conversations int
	window        int
	least         int // what it may hold, if not 0: little of it makes backlogs
	ledger        bool
	policy        bridge.Policy
	ops           []op
	answers       []answer      // in turn, then accepted
	kills         []int         // steps until each kill
	slow          time.Duration // a write to a bucket, each way
}

type op struct {
	kind opKind
	n    int
}

type opKind int

const (
	opPublish opKind = iota
	opDeliver
	opSweep
	opRedeliver
	opShut // the platform cannot send
	opOpen
	opKill
	opHandOver
	opSkip
	opStatus
)

func drawPlan(t *rapid.T, ledger bool) plan {
	p := plan{
		conversations: rapid.IntRange(1, 4).Draw(t, "conversations"),
		window:        rapid.IntRange(1, 5).Draw(t, "window"),
		ledger:        ledger,
	}
	if ledger {
		p.policy = rapid.SampledFrom([]bridge.Policy{bridge.Report, bridge.Resend}).Draw(t, "policy")
	}
	p.least = rapid.SampledFrom([]int{0, 1, 6}).Draw(t, "least")
	p.ops = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
		return op{opKind(rapid.IntRange(0, int(opStatus)).Draw(t, "op")), rapid.IntRange(1, 30).Draw(t, "n")}
	}), 5, 40).Draw(t, "ops")
	p.answers = rapid.SliceOfN(rapid.Custom(drawAnswer), 0, 40).Draw(t, "answers")
	p.slow = rapid.SampledFrom([]time.Duration{0, time.Millisecond, 15 * time.Millisecond}).Draw(t, "slow")
	p.kills = rapid.SliceOfN(rapid.IntRange(0, 60), 0, 4).Draw(t, "kills")
	return p
}

func drawAnswer(t *rapid.T) answer {
	class := rapid.SampledFrom([]codec.Class{
		codec.Accepted, codec.Accepted, codec.Accepted, codec.Permanent, codec.Throttled,
		codec.Transient, codec.Unauthorized, codec.Unknown,
	}).Draw(t, "class")
	a := answer{result: bridge.Result{Class: class, Reason: "drawn"}}
	switch class {
	case codec.Accepted:
		a.takes = true
	case codec.Unknown:
		a.takes = rapid.Bool().Draw(t, "takes")
	case codec.Throttled:
		a.result.Scope = rapid.SampledFrom([]codec.Scope{codec.ScopeLane, codec.ScopeSession, codec.ScopeApp}).Draw(t, "scope")
	default:
	}
	a.after = time.Duration(rapid.IntRange(0, 3).Draw(t, "after")) * 20 * time.Millisecond
	return a
}

// play runs a plan and says what is wrong with what came of it.
func play(t *testing.T, p plan) (faults []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if p.ledger {
			w.useLedger()
		}
		w.platform.window, w.least = p.window, p.least
		w.cursors.slow = p.slow
		if p.ledger {
			w.ledger.slow = p.slow
		}
		w.configure = func(c *Config) { c.Policy = p.policy }
		w.platform.answer = func(_ *bridge.Outgoing, nth int) answer {
			if nth <= len(p.answers) {
				return p.answers[nth-1]
			}
			return accept()
		}
		kills := p.kills
		start := func() {
			w.start()
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(kills) > 0 {
				w.budget, kills = kills[0], kills[1:]
			}
		}
		revive := func() {
			if !w.alive(w.running()) {
				w.stop()
				start()
				w.deliverAll()
				synctest.Wait() // a window that shrinks while a send begins is no fault
			}
		}
		start()
		for _, o := range p.ops {
			revive()
			switch o.kind {
			case opPublish:
				for i := range o.n {
					w.publish(fmt.Sprint(15550140000+(o.n*7+i)%p.conversations), 1)
				}
			case opDeliver:
				w.deliver(o.n)
			case opSweep:
				w.sweep(time.Duration(o.n) * time.Second)
			case opRedeliver:
				w.mu.Lock()
				reached := w.delivered
				w.mu.Unlock()
				if reached > 0 {
					w.redeliver(uint64(o.n%reached) + 1)
				}
			case opShut:
				w.platform.setWindow(0)
			case opOpen:
				w.platform.setWindow(p.window)
				w.session.Wake()
			case opKill:
				w.kill()
			case opHandOver:
				w.handOver()
				start()
				w.deliverAll()
			case opSkip: // nobody skips where the consumer is behind what it was
				if w.delivered >= w.reached {
					w.skip(o.n)
				}
			case opStatus:
				w.status(o.n)
			}
			synctest.Wait()
		}
		// Now everything goes well, for long enough.
		w.mu.Lock()
		w.budget = -1
		kills = nil
		w.mu.Unlock()
		revive()
		w.platform.setWindow(p.window)
		w.session.Wake()
		w.deliverAll()
		for range 60 {
			w.sweep(time.Minute)
			w.deliverAll()
			w.ackWait()
			if w.finished() {
				break
			}
		}
		faults = append(faults, w.faults(p)...)
		w.stop()
		synctest.Wait()
	})
	return faults
}

func (w *world) running() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.started
}

// handOver closes the session as a shutdown does.
func (w *world) handOver() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		ctx, cancel := contextWithTimeout(5 * time.Second)
		defer cancel()
		_ = w.session.Close(ctx) // a kill in the middle is what the model is for
	}()
	<-closed
	w.mu.Lock()
	w.run++
	w.handed = w.session.Settled()
	w.mu.Unlock()
}

// status brings a status of the nth message that was delivered to a user.
func (w *world) status(n int) {
	w.platform.mu.Lock()
	if len(w.platform.arrived) == 0 {
		w.platform.mu.Unlock()
		return
	}
	a := w.platform.arrived[n%len(w.platform.arrived)]
	w.platform.mu.Unlock()
	sequence, _ := parseRef(a.ref)
	ctx, cancel := contextWithTimeout(10 * time.Second)
	defer cancel()
	err := w.session.Observe(ctx, &codec.Status{ID: "wamid." + a.ref, Status: "delivered"}, codec.Callback{Sequence: sequence, Ref: a.ref})
	if err != nil {
		return // killed meanwhile: the platform says it again
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.budget >= 0 || w.run != w.started {
		return
	}
	if _, ok := w.ids[fmt.Sprintf("shop:%d:outcome", sequence)]; !ok {
		w.early = append(w.early, sequence)
	}
}

func (w *world) finished() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(w.send, func(d *bridge.Delivery) bool {
		_, ended := w.ids[fmt.Sprintf("shop:%d:outcome", d.Sequence)]
		return !ended || w.settled[d.Sequence] == ""
	})
}

// faults checks what must hold whatever happened.
func (w *world) faults(p plan) []string {
	faults := slices.Clone(w.platform.faults)
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	arrived := map[string]int{}
	order := map[string]uint64{}
	for _, a := range w.platform.arrived {
		sequence, _ := parseRef(a.ref)
		arrived[a.ref]++
		if arrived[a.ref] > 1 {
			if p.policy != bridge.Resend {
				say("%s arrived %d times", a.ref, arrived[a.ref])
			}
			continue
		}
		if sequence < order[a.conversation] {
			say("%s arrived after %d", a.ref, order[a.conversation])
		}
		order[a.conversation] = sequence
	}
	for _, sequence := range w.early {
		say("a status of %d came before its outcome", sequence)
	}
	for _, d := range w.send {
		ref := fmt.Sprint("cmd-", d.Sequence)
		word := w.word(d.Sequence)
		switch word {
		case codec.StatusAccepted:
			if arrived[ref] == 0 {
				say("%s is accepted and never arrived", ref)
			}
		case codec.StatusRejected:
			if arrived[ref] != 0 && p.policy != bridge.Resend {
				say("%s is rejected and arrived", ref)
			}
		case codec.StatusUnknown:
			if p.policy != bridge.Report {
				say("%s is unknown", ref)
			}
		default:
			say("%s has outcomes %q", ref, word)
		}
		if word != codec.StatusAccepted && w.deadLetter(d.Sequence) == nil {
			say("%s is %s and has no dead letter", ref, word)
		}
		if w.settlement(d.Sequence) == "" {
			say("%s is not settled", ref)
		}
	}
	return faults
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, false)
		if faults := play(t, p); len(faults) > 0 {
			rt.Fatalf("%s", strings.Join(faults, "\n"))
		}
	})
}

func TestLedgerModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt, true)
		if faults := play(t, p); len(faults) > 0 {
			rt.Fatalf("%s", strings.Join(faults, "\n"))
		}
	})
}
