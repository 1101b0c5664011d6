package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"wabridge/bridge"
	"wabridge/bridge/app"
)

func newSessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List, define, pause and resume sessions",
		Long: `Work on the buckets that hold the sessions: their definitions, their last known
states, their backlogs. A bridge that runs follows them within a second; none has
to run. Sessions that the environment defines are known here as far as this
command's environment has them, and by the state that a bridge told last.`,
		Example: `  wabridge sessions ls
  wabridge sessions pause shop`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError("want a command: ls, show, add, rm, pause or resume (see %s --help)", cmd.CommandPath())
		},
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(
		newSessionsListCommand(), newSessionsShowCommand(), newSessionsAddCommand(),
		newSessionsRemoveCommand(), newSessionsPauseCommand(), newSessionsResumeCommand(),
	)
	return cmd
}

// registry connects to NATS and opens the buckets of sessions. The caller
// closes the client.
func registry(ctx context.Context, stderr io.Writer) (*client, *app.Registry, error) {
	c, err := dial(ctx, stderr)
	if err != nil {
		return nil, nil, err
	}
	var fixed []bridge.Definition
	// What is wrong with a session's variables here may be right at the bridge.
	if config, err := loadConfig(); config != nil {
		fixed = config.Sessions
	} else if err != nil {
		c.close(ctx)
		return nil, nil, err
	}
	r, err := app.OpenRegistry(ctx, c.broker, fixed)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		err = errors.New("the buckets of sessions are missing: start the bridge once, or see wabridge streams")
	}
	if err != nil {
		c.close(ctx)
		return nil, nil, err
	}
	return c, r, nil
}

func newSessionsListCommand() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List sessions with their states",
		Long: `List the sessions that are defined, and those that a bridge told of. BACKLOG is
"live", or the number in WA_SEND from which commands must still be read.`,
		Example: `  wabridge sessions ls
  wabridge sessions ls --json | jq 'select(.state != "connected")'`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, r, err := registry(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer c.close(cmd.Context())
			list, err := r.List(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
			if !asJSON {
				fmt.Fprintln(w, "SESSION\tPLATFORM\tSTATE\tSINCE\tREPLICA\tBACKLOG\tREASON")
			}
			for _, s := range list {
				switch {
				case !all && !s.Defined():
				case asJSON:
					if err := encodeJSON(out, s); err != nil {
						return err
					}
				default:
					fmt.Fprintln(w, sessionLine(&s))
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	cmd.Flags().BoolVar(&all, "all", false, "also those that nothing defines here and that have stopped")
	return cmd
}

// sessionLine is a line of the table.
func sessionLine(s *app.SessionStatus) string {
	since := "-"
	if !s.Since.IsZero() {
		since = s.Since.Local().Format(time.DateTime)
	}
	return strings.Join([]string{
		printable(s.Session), cmp.Or(s.Platform, "-"), stateOf(s), since, cmp.Or(s.Replica, "-"), backlogOf(s),
		clip(printable(cmp.Or(s.Fault, s.Reason)), 100),
	}, "\t")
}

// stateOf is what a session does now, as far as is known.
func stateOf(s *app.SessionStatus) string {
	if s.Paused && s.State != bridge.Paused {
		return string(cmp.Or(s.State, "-")) + " (to be paused)"
	}
	return string(cmp.Or(s.State, "-"))
}

func backlogOf(s *app.SessionStatus) string {
	if s.Backlog == 0 {
		return "live"
	}
	return fmt.Sprintf("from %d", s.Backlog)
}

// shownSession is a session with all that is known of it.
type shownSession struct {
	app.SessionStatus
	// Waiting is how many commands stand in its backlog.
	Waiting    uint64             `json:"waiting"`
	Definition *bridge.Definition `json:"definition,omitempty"`
}

func newSessionsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show <session>",
		Short:   "Show one session: state, backlog, definition",
		Example: "  wabridge sessions show shop",
		Args:    arguments(cobra.ExactArgs(1)),

		ValidArgsFunction: completeSessions(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkSession(args[0]); err != nil {
				return err
			}
			c, r, err := registry(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer c.close(cmd.Context())
			s, err := c.session(cmd.Context(), r, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return encodeJSON(cmd.OutOrStdout(), s)
			}
			return s.show(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *client) session(ctx context.Context, r *app.Registry, id string) (*shownSession, error) {
	status, err := r.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	s := &shownSession{SessionStatus: status}
	if status.Stored && status.Fault == "" {
		def, err := r.Definition(ctx, id)
		if err != nil {
			return nil, err
		}
		s.Definition = &def
	}
	if status.Backlog > 0 {
		stream, err := c.stream(ctx, c.names.SendStream())
		if err != nil {
			return nil, err
		}
		consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			FilterSubjects: []string{c.names.Prefix() + ".outbox.*." + id}, InactiveThreshold: time.Minute,
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: status.Backlog, HeadersOnly: true,
		})
		if err != nil {
			return nil, fmt.Errorf("counting the commands of the backlog: %w", err)
		}
		s.Waiting = consumer.CachedInfo().NumPending
	}
	return s, nil
}

// show writes the session for a person.
func (s *shownSession) show(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, printable(value))
		}
	}
	line("session", s.Session)
	line("platform", s.Platform)
	line("state", stateOf(&s.SessionStatus))
	line("reason", s.Reason)
	if !s.Since.IsZero() {
		line("since", s.Since.Local().Format(time.DateTime))
	}
	line("replica", s.Replica)
	line("backlog", backlogOf(&s.SessionStatus))
	if s.Backlog > 0 {
		line("waiting", fmt.Sprintf("%d commands", s.Waiting))
	}
	line("fault", s.Fault)
	if d := s.Definition; d != nil {
		for _, f := range definitionFlags(d) {
			line(f.name, *f.value)
		}
		line("scopes", strings.Join(d.Scopes, " "))
		line("resumed", d.Resumed)
	} else {
		line("defined", "by the bridge's environment")
	}
	return w.Flush()
}
