package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newDeadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Work on dead letters: what was refused, and what could not be read",
		Example: `  wabridge dead ls --session demo --since 24h
  wabridge dead show 17
  wabridge dead replay 17`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError("want a command: ls, show or replay (see %s --help)", cmd.CommandPath())
		},
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newDeadListCommand(), newDeadShowCommand(), newDeadReplayCommand())
	return cmd
}

// letterFilter chooses dead letters.
type letterFilter struct {
	session, class, since string
	from                  time.Time
}

func (f *letterFilter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.session, "session", "", "only those of this session")
	cmd.Flags().StringVar(&f.class, "class", "", "only those of this class: invalid, permanent, expired, unknown")
	cmd.Flags().StringVar(&f.since, "since", "", "only those since then: RFC 3339, or a duration such as 24h")
}

// check reads the flags.
func (f *letterFilter) check(now time.Time) error {
	if f.session != "" {
		if err := checkSession(f.session); err != nil {
			return err
		}
	}
	at, err := past(f.since, now)
	if err != nil {
		return usageError("--since: want RFC 3339 or a duration such as 24h")
	}
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	f.from = at
	return nil
}

// letters calls each for every dead letter that f chooses, in the order of the
// stream. left is how many are to be looked at after it, chosen or not.
func (c *client) letters(ctx context.Context, f *letterFilter, each func(l *letter, left uint64) error) error {
	session := f.session
	if session == "" {
		session = "*"
	}
	r, err := c.read(ctx, c.names.DeadStream(), []string{c.names.Dead(session)}, f.from)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		l, err := r.nextStored(ctx)
		if err != nil || l == nil {
			return err
		}
		letter := newLetter(l.msg.Subject(), l.msg.Headers(), l.msg.Data())
		letter.Sequence, letter.Time = l.meta.Sequence.Stream, l.meta.Timestamp.UTC()
		if f.class != "" && f.class != letter.Class {
			continue
		}
		if err := each(letter, r.stored); err != nil {
			return err
		}
	}
}

func newDeadListCommand() *cobra.Command {
	var f letterFilter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters",
		Example: `  wabridge dead ls
  wabridge dead ls --session demo --class permanent --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(time.Now()); err != nil {
				return err
			}
			c, err := dial(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer c.close(cmd.Context())
			out := cmd.OutOrStdout()
			if asJSON {
				return c.letters(cmd.Context(), &f, func(l *letter, _ uint64) error { return encodeJSON(out, l) })
			}
			return c.listLetters(cmd.Context(), out, &f)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

func (c *client) listLetters(ctx context.Context, out io.Writer, f *letterFilter) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEQUENCE\tTIME\tSESSION\tCLASS\tCODE\tREASON")
	err := c.letters(ctx, f, func(l *letter, _ uint64) error {
		_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n",
			l.Sequence, l.Time.Local().Format(time.DateTime), l.Session, l.Class, l.Code, clip(printable(l.Reason), 100))
		return err
	})
	if err != nil {
		return err
	}
	return w.Flush()
}

func newDeadShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show <sequence>",
		Short:   "Show one dead letter with its headers and body",
		Example: "  wabridge dead show 17",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			sequences, err := sequences(args)
			if err != nil {
				return err
			}
			c, err := dial(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer c.close(cmd.Context())
			l, err := c.letter(cmd.Context(), sequences[0])
			if err != nil {
				return err
			}
			if asJSON {
				return encodeJSON(cmd.OutOrStdout(), l.full())
			}
			return l.show(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// sequences reads the sequences of dead letters.
func sequences(args []string) ([]uint64, error) {
	list := make([]uint64, 0, len(args))
	for _, a := range args {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil || n == 0 {
			return nil, usageError("%q is no sequence: want a number out of wabridge dead ls", a)
		}
		list = append(list, n)
	}
	return list, nil
}
