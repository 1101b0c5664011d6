package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"wabridge/bridge/broker"
)

func newCheckCommand() *cobra.Command {
	var asJSON bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, NATS, the streams and each session",
		Long: `Check, one line each: the configuration, NATS, the streams and buckets, and the
token and connection of each session that the environment defines. Nothing is
created, no session is disturbed, no refresh token is spent. Exit code 0: all is
well; 1: it is not.`,
		Example: `  wabridge check
  wabridge check --json | jq '.checks[] | select(.state == "failed")'`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkTimeout(timeout); err != nil {
				return err
			}
			return check(cmd, timeout, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long all of it may take")
	return cmd
}

// check runs every check and prints what they came to.
func check(cmd *cobra.Command, timeout time.Duration, asJSON bool) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	c := &checker{}
	if !asJSON {
		c.out = cmd.OutOrStdout()
	}
	c.run(ctx, cmd.ErrOrStderr())
	if asJSON {
		report := struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{!c.failed(), c.findings}
		if err := encodeJSON(cmd.OutOrStdout(), report); err != nil {
			return err
		}
	}
	if c.failed() {
		return &exitError{code: exitFailed}
	}
	return nil
}

// The states of a finding.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFailed  = "failed"
)

// finding is what one check came to.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"`
	Detail string `json:"detail,omitempty"`
	// Remedy is what to do.
	Remedy string `json:"remedy,omitempty"`
}

// checker collects findings, and prints each at once where out is set.
type checker struct {
	out      io.Writer
	findings []finding
}

func (c *checker) add(f finding) {
	c.findings = append(c.findings, f)
	if c.out == nil {
		return
	}
	line := fmt.Sprintf("%-7s  %-16s  %s", f.State, f.Check, strings.ReplaceAll(printable(f.Detail), `\n`, "; "))
	if f.Remedy != "" {
		line += "; " + f.Remedy
	}
	fmt.Fprintln(c.out, line)
}

func (c *checker) failed() bool {
	for _, f := range c.findings {
		if f.State == stateFailed {
			return true
		}
	}
	return false
}

func (c *checker) run(ctx context.Context, stderr io.Writer) {
	config, err := loadConfig()
	var faults *configError
	switch {
	case errors.As(err, &faults):
		for _, f := range faults.Faults {
			c.add(finding{"configuration", stateFailed, f, "see wabridge help config"})
		}
	case err != nil:
		c.add(finding{"configuration", stateFailed, err.Error(), ""})
		return
	default:
		c.add(finding{"configuration", stateOK, fmt.Sprintf("sessions in the environment: %d", len(config.Sessions)), ""})
	}
	for _, w := range config.Warnings {
		c.add(finding{"configuration", stateWarning, w, ""})
	}
	var client *client
	var answers bool                        // JetStream
	if _, err := loadBroker(); err == nil { // else its faults stand above
		if client = c.nats(ctx, stderr); client != nil {
			defer client.close(ctx)
			answers = c.streams(ctx, client, config.Broker.Manage)
		}
	}
	if faults != nil {
		return
	}
	for _, d := range config.Sessions {
		c.session(ctx, client, config, &d)
	}
	if answers {
		c.storedSessions(ctx, client, config)
	}
}

// nats connects. It gives nil where that fails.
func (c *checker) nats(ctx context.Context, stderr io.Writer) *client {
	client, err := dial(ctx, stderr)
	if err != nil {
		c.add(finding{"nats", stateFailed, err.Error(), "check WABRIDGE_NATS_URL and the credentials, and that the server runs"})
		return nil
	}
	conn := client.broker.Conn()
	rtt, err := conn.RTT()
	if err != nil {
		c.add(finding{"nats", stateFailed, err.Error(), "check the network between this host and NATS"})
		return client
	}
	c.add(finding{"nats", stateOK, fmt.Sprintf("server %s, version %s, round trip %s",
		conn.ConnectedServerName(), conn.ConnectedServerVersion(), rtt.Round(time.Microsecond)), ""})
	return client
}

// streams compares them, and reports whether JetStream answers at all.
func (c *checker) streams(ctx context.Context, client *client, manage bool) (answers bool) {
	list, err := client.compareStreams(ctx)
	if err != nil {
		c.add(finding{"streams", stateFailed, err.Error(), "run the server with JetStream, and give the account access to it"})
		return false
	}
	var missing []string
	wrong := false
	for _, f := range list {
		var contradiction *broker.ContradictionError
		switch {
		case f.err == nil:
			c.limits(&f)
		case errors.Is(f.err, jetstream.ErrStreamNotFound):
			missing = append(missing, f.wanted.Name)
		case errors.As(f.err, &contradiction):
			wrong = true
			c.add(finding{"streams", stateFailed, f.err.Error(), ""})
		default:
			wrong = true
			c.add(finding{"streams", stateFailed, f.err.Error(), "give the user permission on $JS.API.>"})
		}
	}
	switch {
	case len(missing) > 0 && !manage:
		c.add(finding{"streams", stateFailed, "missing: " + strings.Join(missing, ", "), "create them as wabridge streams --json says"})
	case len(missing) > 0:
		c.add(finding{"streams", stateOK, fmt.Sprintf("%d of %d are missing and will be created", len(missing), len(list)), ""})
	case !wrong:
		c.add(finding{"streams", stateOK, fmt.Sprintf("%d streams and buckets", len(list)), ""})
	}
	return true
}

// limits warns of limits that make a stream drop what it holds.
func (c *checker) limits(f *found) {
	is := f.info.Config
	if is.Discard != jetstream.DiscardOld || is.MaxBytes <= 0 && is.MaxMsgs <= 0 {
		return
	}
	limit := fmt.Sprintf("%d messages", is.MaxMsgs)
	if is.MaxBytes > 0 {
		limit = fmt.Sprintf("%d bytes", is.MaxBytes)
	}
	what := "the oldest messages are dropped, read or not"
	if f.wanted.SubjectTransform != nil {
		what = "the oldest commands are dropped, without an outcome where they are not sent yet"
	}
	c.add(finding{"streams", stateWarning, fmt.Sprintf("%s is limited to %s: when it is full, %s", is.Name, limit, what), "size it for the longest outage"})
}
