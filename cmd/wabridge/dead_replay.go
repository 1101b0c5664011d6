package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"wabridge/bridge/app"
)

func newDeadReplayCommand() *cobra.Command {
	var f letterFilter
	var p replay
	var all bool
	cmd := &cobra.Command{
		Use:   "replay <sequence>... | --all",
		Short: "Send the commands of dead letters again",
		Long: `Publish the command of each dead letter again: a new command with a new id and
the old ref, so that a platform which knows the ref delivers nothing twice. The
dead letter stays. Within the streams' duplicates window (2 h) a letter that was
replayed is not replayed again, unless --again says so.`,
		Example: `  wabridge dead replay 17 18
  wabridge dead replay --all --session demo --class permanent --since 24h`,
		Args: arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usageError("want the sequences of dead letters, or --all (see %s --help)", cmd.CommandPath())
			}
			chosen, err := sequences(args)
			if err != nil {
				return err
			}
			if err := f.check(time.Now()); err != nil {
				return err
			}
			p.client, err = dial(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer p.client.close(cmd.Context())
			p.out, p.progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
			// Where the letters themselves scroll by, they are progress enough.
			p.watched = isTerminal(p.progress) && !isTerminal(p.out)
			return p.run(cmd.Context(), chosen, &f)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "replay every dead letter that --session, --class and --since choose")
	cmd.Flags().BoolVar(&p.options.Again, "again", false, "replay what was replayed already, too")
	cmd.Flags().BoolVar(&p.options.IgnoreDeadline, "ignore-deadline", false, "replay what has passed its deadline, without the deadline")
	cmd.Flags().BoolVar(&p.json, "json", false, "print one JSON object per letter")
	return cmd
}

// replay sends dead letters again.
type replay struct {
	client  *client
	options app.RedriveOptions
	json    bool

	out, progress io.Writer
	watched       bool

	done, skipped int
}

// replayed says what became of one letter.
type replayed struct {
	Letter  uint64 `json:"letter"`
	Session string `json:"session"`
	Ref     string `json:"ref,omitempty"`
	// Command is the sequence of the new command; 0 where there is none.
	Command uint64 `json:"command,omitempty"`
	Skipped string `json:"skipped,omitempty"`
}

func (p *replay) run(ctx context.Context, chosen []uint64, f *letterFilter) error {
	for i, sequence := range chosen {
		l, err := p.client.letter(ctx, sequence)
		if err != nil {
			return err
		}
		if err := p.one(ctx, l, uint64(len(chosen)-i-1)); err != nil {
			return err
		}
	}
	if len(chosen) == 0 {
		if err := p.client.letters(ctx, f, func(l *letter, left uint64) error { return p.one(ctx, l, left) }); err != nil {
			return err
		}
	}
	if p.watched {
		fmt.Fprintln(p.progress)
	}
	if len(chosen) > 0 && p.skipped > 0 {
		return fmt.Errorf("%d of %d dead letters were not replayed", p.skipped, p.skipped+p.done)
	}
	return nil
}

// one replays a letter and says so; left is how many come after it at most.
func (p *replay) one(ctx context.Context, l *letter, left uint64) error {
	r := replayed{Letter: l.Sequence, Session: l.Session}
	msg, err := app.Redrive(p.client.names, &app.Letter{
		Session: l.Session, Sequence: l.Sequence, Header: l.header, Body: l.body,
	}, p.options)
	if err != nil {
		r.Skipped = err.Error()
	} else if err := p.publish(ctx, l, msg, &r); err != nil {
		return err
	}
	if r.Skipped == "" {
		p.done++
	} else {
		p.skipped++
	}
	if p.watched {
		fmt.Fprintf(p.progress, "\r%d replayed, %d skipped, %d to look at \x1b[K", p.done, p.skipped, left)
	}
	if p.json {
		return encodeJSON(p.out, r)
	}
	if r.Skipped != "" {
		_, err = fmt.Fprintf(p.out, "%d  skipped: %s\n", l.Sequence, r.Skipped)
	} else {
		_, err = fmt.Fprintf(p.out, "%d  replayed as command %d, ref %s\n", l.Sequence, r.Command, printable(r.Ref))
	}
	return err
}

func (p *replay) publish(ctx context.Context, l *letter, msg *nats.Msg, r *replayed) error {
	ack, err := p.client.publish(ctx, msg)
	if err != nil {
		return err
	}
	r.Ref = l.Ref
	if ack.Duplicate {
		r.Skipped = fmt.Sprintf("it was replayed already, as command %d; --again replays it once more", ack.Sequence)
	} else {
		r.Command = ack.Sequence
	}
	return nil
}
