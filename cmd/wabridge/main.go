package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailed   = 1 // something did not work
	exitUsage    = 2 // flags, arguments or configuration
	exitRefused  = 3 // send: rejected or expired
	exitUnknown  = 4 // send: nobody knows whether it was delivered
	exitTimedOut = 5 // send: no outcome in time
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs one command line until it is done or ctx ends, and gives its exit
// code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand() //nolint:contextcheck // each command takes ctx from cobra, which ExecuteContext gives it to
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	complain(stderr, err)
	var faults *configError
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &faults):
		return exitUsage
	default:
		return exitFailed
	}
}

// complain prints an error for people, one line for each fault.
func complain(w io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != "" {
			fmt.Fprintf(w, "wabridge: %s\n", line)
		}
	}
}

// exitError is an error with an exit code of its own. Without err, everything
// has been said already.
type exitError struct {
	code int
	err  error
}

// Error says what err says.
func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// Unwrap gives err.
func (e *exitError) Unwrap() error { return e.err }

// usageError is an error of flags or arguments.
func usageError(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}
