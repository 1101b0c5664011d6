package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// tailKinds are the second tokens of the subjects, in the order of a message's
// way.
func tailKinds() []string { return []string{"send", "recv", "status", "event", "dead"} }

func newTailCommand() *cobra.Command {
	var since string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tail [send|recv|status|event|dead] [session]",
		Short: "Show what passes on the subjects, one line each",
		Long: `Show what passes on the subjects, one line each, until it is interrupted. It shows
what people wrote to each other: mind who looks at the screen.`,
		Example: `  wabridge tail
  wabridge tail recv demo
  wabridge tail status --since 1h --json`,
		Args:      arguments(cobra.MaximumNArgs(2)),
		ValidArgs: tailKinds(),
		RunE: func(cmd *cobra.Command, args []string) error {
			kinds, session := tailKinds(), "*"
			if len(args) > 0 {
				if !slices.Contains(kinds, args[0]) {
					return usageError("%q is no kind of message: want %s", args[0], strings.Join(kinds, ", "))
				}
				kinds = args[:1]
			}
			if len(args) > 1 {
				session = args[1]
				if err := checkSession(session); err != nil {
					return err
				}
			}
			from, err := past(since, time.Now())
			if err != nil {
				return usageError("--since: want RFC 3339 or a duration such as 1h")
			}
			c, err := dial(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer c.close(cmd.Context())
			p := newPrinter(cmd.OutOrStdout(), c.names, asJSON)
			err = c.tail(cmd.Context(), kinds, session, from, p.print)
			if cmd.Context().Err() != nil {
				return nil // someone pressed Ctrl-C
			}
			return err
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "begin in the past: RFC 3339, or a duration such as 1h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}

// past reads a point in time: RFC 3339, or a duration back from now. It is zero
// for "".
func past(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	return time.Parse(time.RFC3339, s)
}

// tail calls show for each message of these kinds until ctx ends. What was
// stored before it began comes in the order of time over all streams.
func (c *client) tail(ctx context.Context, kinds []string, session string, from time.Time, show func(line) error) error {
	filters := map[string][]string{}
	for _, kind := range kinds {
		switch kind {
		case "send":
			filters[c.names.SendStream()] = []string{c.names.Prefix() + ".outbox.*." + session}
		case "dead":
			filters[c.names.DeadStream()] = []string{c.names.Dead(session)}
		default:
			filters[c.names.RecvStream()] = append(filters[c.names.RecvStream()], c.names.Prefix()+"."+kind+"."+session)
		}
	}
	readers := make([]*reader, 0, len(filters))
	defer func() {
		for _, r := range readers {
			r.close()
		}
	}()
	for stream, subjects := range filters {
		r, err := c.read(ctx, stream, subjects, from)
		if err != nil {
			return err
		}
		readers = append(readers, r)
	}
	if err := catchUp(ctx, readers, show); err != nil {
		return err
	}
	return follow(ctx, readers, show)
}

// patience bounds the wait for a stored message that does not come: it may have
// been removed in the meantime.
const patience = 2 * time.Second

// catchUp shows what was stored when the readers began, in the order of time
// over all of them.
func catchUp(ctx context.Context, readers []*reader, show func(line) error) error {
	heads := make([]*line, len(readers))
	for {
		first := -1
		for i, r := range readers {
			if heads[i] == nil && r.stored > 0 {
				l, err := r.nextStored(ctx)
				if err != nil {
					return err
				}
				heads[i] = l
			}
			if heads[i] != nil && (first < 0 || heads[i].meta.Timestamp.Before(heads[first].meta.Timestamp)) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		if err := show(*heads[first]); err != nil {
			return err
		}
		heads[first] = nil
	}
}

// follow shows what comes, from all readers as it comes.
func follow(ctx context.Context, readers []*reader, show func(line) error) error {
	g, ctx := errgroup.WithContext(ctx)
	lines := make(chan line)
	for _, r := range readers {
		g.Go(func() error {
			for {
				l, err := r.next(ctx)
				if err != nil {
					return err
				}
				select {
				case lines <- l:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
	}
	g.Go(func() error {
		for {
			select {
			case l := <-lines:
				if err := show(l); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return g.Wait()
}
