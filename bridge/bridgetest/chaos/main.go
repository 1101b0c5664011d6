package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == serverRole {
		os.Exit(runServer(os.Args[2], os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with everything it touches as a parameter; it returns the exit
// code: 0 where everything holds, 1 where something does not, 2 for wrong flags.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case o.list:
		for _, k := range o.kinds() {
			fmt.Fprintf(stdout, "%-22s %s\n", k.name, k.about)
		}
		return 0
	}
	one := trial
	if o.peer {
		one = peer
	}
	held, err := one(ctx, o, stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "chaos:", err)
	}
	if err != nil || !held {
		return 1
	}
	return 0
}

// trial runs everything once and tells whether everything held.
func trial(ctx context.Context, o *options, stdout, stderr io.Writer) (held bool, err error) {
	v, err := attempt(ctx, o, stderr)
	if err != nil {
		return false, err
	}
	v.print(stdout)
	return v.held(), nil
}

// attempt runs everything once.
func attempt(ctx context.Context, o *options, stderr io.Writer) (v *verdict, err error) {
	w, err := newWorld(o, stderr)
	if err != nil {
		return nil, err
	}
	defer func() {
		w.end()
		if v != nil && v.held() && !o.keep {
			err = errors.Join(err, os.RemoveAll(w.dir))
			return
		}
		fmt.Fprintln(stderr, "logs and state are in", w.dir)
	}()
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	c, err := newCollector(ctx, w)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	l, err := newLoad(w, c)
	if err != nil {
		return nil, err
	}
	storm := newStorm(w, o)
	stuck := play(ctx, w, l, c, storm)
	if ctx.Err() != nil {
		return nil, errors.New("interrupted")
	}
	if v, err = judge(ctx, w, l, c, storm); err != nil {
		return nil, err
	}
	v.stuck = stuck
	return v, nil
}
