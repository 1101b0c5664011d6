package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// held tells whether everything holds.
func (v *verdict) held() bool {
	return v.stuck == "" && len(v.faults) == 0 && v.published == len(v.c.ledger.commands) &&
		v.lostOut+v.doubledOut+v.disordered+v.missing+v.several+v.wrongWords+v.letters == 0 &&
		v.lostIn+v.doubledIn+v.disorderedIn == 0 && v.lostStatuses+v.doubledStatuses+v.disorderedStatuses == 0 &&
		v.unexplained == 0 && v.violations == 0
}

// print writes the table.
func (v *verdict) print(w io.Writer) {
	o := v.w.o
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(w, strings.Repeat("-", 78))
	line("run", "seed %d, %s%s, %d replicas, %d NATS servers, %d sessions of %d conversations",
		o.seed, o.platform, v.policy(), o.replicas, o.nodes, o.sessions, o.conversations)
	line("commands", "%d sent, %d delivered, %d lost, %d doubled, %d out of order", v.published, v.sent, v.lostOut, v.doubledOut, v.disordered)
	line("messages of users", "%d sent, %d delivered, %d lost, %d doubled, %d out of order", v.written, v.stored, v.lostIn, v.doubledIn, v.disorderedIn)
	line("statuses", "%d stored, %d lost, %d doubled, %d out of order", v.reported, v.lostStatuses, v.doubledStatuses, v.disorderedStatuses)
	line("outcomes", "%d missing, %d commands with several, %d wrong", v.missing, v.several, v.wrongWords)
	line("", "%d accepted, %d rejected, %d expired, %d unknown", v.accepted, v.rejected, v.expired, v.unknown)
	line("unknown", "%d reached the phone, %d did not", v.reached, v.unknown-v.reached)
	line("answers dropped", "%d of %d (%.1f %%)", v.dropped, v.taken, 100*float64(v.dropped)/float64(max(v.taken, 1)))
	line("unanswered sends resolved", "%d", v.resolved)
	line("repeats absorbed", "%d explained, %d unexplained", v.explained, v.unexplained)
	line("doubles explained", "%d", v.explainedDoubles)
	line("dead letters", "%d commands with a wrong number; %d of the platform's frames", v.letters, v.c.poison)
	line("violations of the protocol", "%d", v.violations)
	worst := v.worst(func(string) bool { return true })
	line("worst recovery", "%s; bridge restart %s; NATS restart %s", worst,
		v.worst(func(k string) bool { return k == "bridge-kill" || k == "bridge-term" }),
		v.worst(func(k string) bool { return k == "nats-kill" || k == "nats-term" }))
	line("most memory of a bridge", "%.1f MiB", float64(v.peak)/1024)
	lasted := time.Unix(0, v.l.ended.Load()).Sub(v.l.begun).Seconds()
	line("load", "%.0f messages/s for %.0f s", float64(o.messages)/lasted, lasted)
	v.printFaults(w)
	if v.stuck != "" {
		line("STUCK", "%s", v.stuck)
	}
	for _, f := range v.faults[:min(len(v.faults), 20)] {
		line("FAULT", "%s", f)
	}
	if len(v.faults) > 20 {
		line("FAULT", "and %d more", len(v.faults)-20)
	}
	for _, s := range v.suspects {
		fmt.Fprintln(w, s)
	}
	if v.held() {
		line("verdict", "everything holds")
	} else {
		line("verdict", "FAILED")
	}
}

func (v *verdict) policy() string {
	o := v.w.o
	switch {
	case o.cloud():
		return " (" + o.unknown + ")"
	case !o.dedupe:
		return " (without dedupe)"
	}
	return ""
}

// worst is the longest recovery, first and fresh, of the kinds wanted, each
// among faults that were alone.
func (v *verdict) worst(want func(kind string) bool) string {
	first, fresh := time.Duration(-1), time.Duration(-1)
	for _, r := range v.recoveries {
		if r.firstAlone && want(r.kind) {
			first = max(first, r.first)
		}
		if r.freshAlone && want(r.kind) {
			fresh = max(fresh, r.fresh)
		}
	}
	if first < 0 && fresh < 0 {
		return "not measured"
	}
	return seconds(first) + " (" + seconds(fresh) + ")"
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "not measured"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// printFaults lists the kinds: how often each struck, and the recovery.
func (v *verdict) printFaults(w io.Writer) {
	counts := map[string]int{}
	struck := 0
	for _, f := range v.s.faults {
		if !f.began.IsZero() {
			counts[f.name]++
			struck++
		}
	}
	fmt.Fprintf(w, "%-34s %s\n", fmt.Sprintf("faults: %d", struck), "times  worst recovery (of a new message, every session)")
	for _, k := range v.w.o.kinds() {
		if counts[k.name] == 0 {
			continue
		}
		text := ""
		if !k.mild {
			text = v.worst(func(kind string) bool { return kind == k.name })
			if text == "not measured" && slices.ContainsFunc(v.recoveries, func(r recovery) bool { return r.kind == k.name }) {
				text = "among others"
			}
		}
		fmt.Fprintf(w, "  %-32s %5d  %s\n", k.name, counts[k.name], text)
	}
}
