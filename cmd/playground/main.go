// Command playground is the newcomer's first command: a NATS server with
// JetStream, a simulated WhatsApp and wabridge with one session, in one
// process. It prints what to type next and then every message that passes.
// Nothing of it stays behind.
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with everything it touches as a parameter; it returns the exit
// code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := play(ctx, opts, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "playground:", err)
		return 1
	}
	return 0
}

// options are the addresses that the parts listen on.
type options struct {
	nats, http, admin string
	verbose           bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("playground", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.nats, "nats", "127.0.0.1:4222", "`address` of the NATS server")
	fs.StringVar(&o.http, "http", "127.0.0.1:8080", "`address` of the simulated WhatsApp")
	fs.StringVar(&o.admin, "admin", "127.0.0.1:8088", "`address` of the bridge's health and metrics")
	fs.BoolVar(&o.verbose, "v", false, "log what the bridge does, too")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", fs.Arg(0))
		fmt.Fprintln(stderr, "playground:", err)
		return o, err
	}
	return o, nil
}
