package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
)

// What the peers were measured with.
const (
	peerMessages = 20_000
	peerRate     = 4000
	peerKills    = 3
)

// setPeer takes the peers' figures where no flag says otherwise.
func (o *options) setPeer(fs *flag.FlagSet) {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, set := range map[string]func(){
		"messages": func() { o.messages = peerMessages },
		"rate":     func() { o.rate = peerRate },
		"faults":   func() { o.faults = peerKills },
	} {
		if !given[name] {
			set()
		}
	}
}

// peer runs the test that other bridges were measured with: kills of the bridge
// or of NATS, while it receives or while it sends. It prints one table.
func peer(ctx context.Context, o *options, stdout, stderr io.Writer) (held bool, err error) {
	held = true
	var table strings.Builder
	fmt.Fprintf(&table, "%-8s %-10s %8s %8s %8s %8s %8s %13s\n", "killed", "direction", "kills", "sent", "arrived", "lost", "doubled", "out of order")
	for _, killed := range []struct{ what, kind string }{{"bridge", "bridge-kill"}, {"NATS", "nats-kill"}} {
		for _, direction := range []string{in, out} {
			one := *o
			one.only, one.direction = killed.kind, direction
			v, err := attempt(ctx, &one, stderr)
			if err != nil {
				return false, err
			}
			if !v.held() {
				held = false
				v.print(stdout)
			}
			fmt.Fprintf(&table, "%-8s %-10s %8d %s\n", killed.what, direction, v.s.began.Load(), v.counts())
		}
	}
	fmt.Fprint(stdout, table.String())
	return held, nil
}

// counts are those of the direction that the run had.
func (v *verdict) counts() string {
	const format = "%8d %8d %8d %8d %13d"
	if v.w.o.direction == in {
		return fmt.Sprintf(format, v.written, v.stored, v.lostIn, v.doubledIn, v.disorderedIn)
	}
	return fmt.Sprintf(format, v.published, v.sent+v.rejected, v.lostOut+v.missing, v.doubledOut, v.disordered)
}
