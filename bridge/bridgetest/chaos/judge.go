package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// verdict is what the run has shown.
type verdict struct {
	w *world
	l *load
	c *collector
	s *storm

	stuck string

	// Commands.
	published, sent, lostOut, doubledOut, disordered, missing, several, explainedDoubles int
	wrongWords, letters                                                                  int
	accepted, rejected, expired, unknown, reached, resolved                              int
	taken, dropped                                                                       int // by the platform, and of these never answered
	// Repeats that the platform absorbed.
	explained, unexplained int
	// Messages of users.
	written, stored, lostIn, doubledIn, disorderedIn int
	// Statuses.
	reported, lostStatuses, doubledStatuses, disorderedStatuses int

	violations int
	peak       int // KiB
	recoveries []recovery
	faults     []string // everything else that should not be
	suspects   []string // histories of the first messages that failed
}

// judge takes everything together.
func judge(ctx context.Context, w *world, l *load, c *collector, s *storm) (*verdict, error) {
	v := &verdict{w: w, l: l, c: c, s: s}
	w.remember(ctx)
	phone := make([][]delivered, len(c.ledger.commands)) // by command
	for i := range w.o.sessions {
		list, err := w.accepted(ctx, i, 0)
		if err != nil {
			return nil, err
		}
		v.takePhone(i, list, phone)
	}
	v.endProcesses()
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	for i := range c.ledger.commands {
		v.judgeCommand(i, phone[i])
	}
	for i := range c.ledger.users {
		v.judgeUsers(i)
	}
	v.judgeRepeats(phone)
	v.recoveries = measure(c.ledger, s, l)
	c.mu.Lock()
	defer c.mu.Unlock()
	v.faults = append(v.faults, c.faults...)
	for _, f := range s.faults {
		if f.err != nil {
			v.faults = append(v.faults, fmt.Sprintf("fault %d %s: %v", f.n, f.name, f.err))
		}
	}
	return v, nil
}

// takePhone sorts what the platform took for a session by command, and checks
// the order within each conversation: that of WA_SEND.
func (v *verdict) takePhone(s int, list []delivered, phone [][]delivered) {
	ledger := v.c.ledger
	ledger.mu.Lock()
	defer ledger.mu.Unlock()
	last := map[string]uint64{}
	for _, m := range list {
		v.taken++
		if !v.w.answered[m.ID] {
			v.dropped++
		}
		i, ok := ledger.index(m.Ref)
		if m.Ref == "" {
			i, ok = ledger.traced(m.TraceParent)
		}
		if !ok || ledger.session(i) != s || number(s, ledger.conversation(i)) != m.Number {
			v.faults = append(v.faults, fmt.Sprintf("%s: the platform took %q (%s), which is no command of ours", session(s), m.Ref, m.ID))
			continue
		}
		if len(phone[i]) == 0 {
			sequence := ledger.commands[i].sequence
			if sequence < last[m.Number] {
				v.disordered++
				v.suspect(i, append(phone[i], m), "delivered behind a later command")
			}
			last[m.Number] = max(last[m.Number], sequence)
		}
		phone[i] = append(phone[i], m)
	}
}

func (v *verdict) judgeCommand(i int, phone []delivered) {
	c := &v.c.ledger.commands[i]
	if c.sequence == 0 {
		if len(c.outcomes) > 0 || len(phone) > 0 {
			v.suspect(i, phone, "acted upon without a PubAck")
		}
		return
	}
	v.published++
	if len(phone) > 0 {
		v.sent++
	}
	switch len(c.outcomes) {
	case 0:
		v.missing++
		v.suspect(i, phone, "no outcome")
	case 1:
	default:
		v.several++
		v.suspect(i, phone, "several outcomes")
	}
	word := ""
	if len(c.outcomes) > 0 {
		word = c.outcomes[0].word
	}
	v.judgeWord(i, word, phone)
	v.judgeDoubles(i, phone)
	v.judgeStatuses(i, phone)
}

// judgeWord checks the outcome against what the platform did.
func (v *verdict) judgeWord(i int, word string, phone []delivered) {
	c := &v.c.ledger.commands[i]
	wrong := func(why string) {
		v.wrongWords++
		v.suspect(i, phone, why)
	}
	switch word {
	case "accepted":
		v.accepted++
		if len(phone) == 0 {
			v.lostOut++
			v.suspect(i, phone, "accepted and never delivered")
		} else if !v.w.answered[phone[0].ID] {
			v.resolved++
		}
		if bad(i) {
			wrong("a bad command was accepted")
		}
	case "rejected":
		v.rejected++
		if !bad(i) || len(phone) > 0 {
			wrong("rejected for no reason")
		}
	case "unknown":
		v.unknown++
		if len(phone) > 0 {
			v.reached++
		}
		if !v.w.o.cloud() || v.w.o.unknown != "report" {
			wrong("unknown, where a repeat would have told")
		}
	case "expired":
		v.expired++
		wrong("expired, without a deadline")
	}
	if (word == "rejected" || word == "unknown" || word == "expired") != (c.letters == 1) || c.letters > 1 {
		v.letters++
		v.suspect(i, phone, fmt.Sprintf("%d dead letters", c.letters))
	}
}

// judgeDoubles: delivered once by effect; where the platform has no dedupe, or
// the policy is to send again, a double needs an explanation.
func (v *verdict) judgeDoubles(i int, phone []delivered) {
	for n := 1; n < len(phone); n++ {
		before, again := phone[n-1], phone[n]
		allowed := !v.w.o.cloud() && !v.w.o.dedupe || v.w.o.cloud() && v.w.o.unknown == "resend"
		if allowed && (!v.w.answered[before.ID] || v.s.explains(before.At, again.At)) {
			v.explainedDoubles++
			continue
		}
		v.doubledOut++
		v.suspect(i, phone, "delivered again")
	}
}

// judgeStatuses: what the platform reports of a message is stored once each, in
// order (webhooks come in any order).
func (v *verdict) judgeStatuses(i int, phone []delivered) {
	c := &v.c.ledger.commands[i]
	for _, m := range phone {
		n := slices.IndexFunc(c.copies, func(k copied) bool { return k.id == m.ID })
		if n < 0 {
			v.lostStatuses += stageCount
			v.suspect(i, phone, "no status is stored")
			continue
		}
		for stage, count := range c.copies[n].stages {
			v.reported += int(count)
			if count != 1 {
				v.lostStatuses += max(0, 1-int(count))
				v.doubledStatuses += max(0, int(count)-1)
				v.suspect(i, phone, fmt.Sprintf("%s is stored %d times", stages()[stage], count))
			}
		}
		if c.copies[n].behind && !v.w.o.cloud() {
			v.disorderedStatuses++
			v.suspect(i, phone, "statuses out of order")
		}
	}
}

func (v *verdict) judgeUsers(s int) {
	for i, u := range v.c.ledger.users[s] {
		if u.written {
			v.written++
		}
		if u.count > 0 {
			v.stored++
		}
		why := ""
		switch {
		case u.written && u.count == 0:
			v.lostIn++
			why = "lost"
		case u.count > 1:
			v.doubledIn += int(u.count) - 1
			why = fmt.Sprintf("stored %d times", u.count)
		case u.late && !v.w.o.cloud():
			v.disorderedIn++
			why = "stored behind a later one"
		}
		if why != "" && len(v.suspects) < maxSuspects {
			v.suspects = append(v.suspects, fmt.Sprintf("message %d of users of %s: %s; released %s, stored %s",
				i, session(s), why, v.clock(u.released), v.clock(u.at)))
		}
	}
}

// judgeRepeats: the platform may see a send again that it has answered only
// where the answer, or what was made of it, can have been lost.
func (v *verdict) judgeRepeats(phone [][]delivered) {
	for _, list := range v.w.repeats {
		for _, r := range list {
			i, ok := v.c.ledger.index(r.Ref)
			if ok && len(phone[i]) > 0 && (!r.Answered || r.Reconnected && v.s.explains(phone[i][0].At, r.At)) {
				v.explained++
				continue
			}
			v.unexplained++
			if ok {
				v.suspect(i, phone[i], "sent again without need at "+v.clock(r.At))
			}
		}
	}
}

// endProcesses ends the replicas in order, and looks at what the processes said.
func (v *verdict) endProcesses() {
	for _, p := range v.w.bridges {
		p.look()
		if err := p.terminate(); err != nil {
			v.faults = append(v.faults, err.Error())
		}
		v.peak = max(v.peak, p.peak)
		for _, text := range []string{"panic:", "fatal error:", "WARNING: DATA RACE"} {
			if n, first, err := p.grep(text); n > 0 || err != nil {
				v.faults = append(v.faults, fmt.Sprintf("%s says %d times %q: %s (%v)", p.name, n, text, first, err))
			}
		}
	}
	n, first, err := v.w.sim.grep("the bridge broke a rule")
	if v.violations = n; n > 0 || err != nil {
		v.faults = append(v.faults, fmt.Sprintf("%d violations of the protocol, the first: %s (%v)", n, first, err))
	}
	for _, p := range v.w.processes() {
		v.faults = append(v.faults, p.crashes...)
	}
}

const maxSuspects = 10

// suspect keeps the history of a command that failed.
func (v *verdict) suspect(i int, phone []delivered, why string) {
	if len(v.suspects) >= maxSuspects {
		return
	}
	c := &v.c.ledger.commands[i]
	var text strings.Builder
	fmt.Fprintf(&text, "%s of %s, conversation %d: %s\n    released %s, sequence %d in WA_SEND, %d dead letters",
		ref(i), session(v.c.ledger.session(i)), v.c.ledger.conversation(i), why, v.clock(c.released), c.sequence, c.letters)
	for _, o := range c.outcomes {
		fmt.Fprintf(&text, "\n    %s %s at sequence %d of WA_RECV: id %s, class %q, code %d, %d attempts",
			v.clock(o.at), o.word, o.position, o.id, o.class, o.code, o.attempts)
	}
	for _, m := range phone {
		fmt.Fprintf(&text, "\n    %s taken by the platform: id %s, %s, answered %v", v.clock(m.At), m.ID, m.Status, v.w.answered[m.ID])
	}
	for _, k := range c.copies {
		fmt.Fprintf(&text, "\n    statuses of %s: %v of %v", k.id, k.stages, stages())
	}
	v.suspects = append(v.suspects, text.String())
}

// clock is a moment as the journal writes it.
func (v *verdict) clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%.3fs", t.Sub(v.w.began).Seconds())
}
