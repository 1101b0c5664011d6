package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"wabridge/bridge/broker"
)

func newStreamsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "streams",
		Short: "Compare the streams and buckets with what they must be",
		Long: `Compare the streams and buckets on the server with what they must be. The bridge
creates what is missing, unless WABRIDGE_MANAGE_STREAMS is off; it never changes
what is there. With --json, print the configuration of every stream as an
operator should create it: KV buckets and the media store are streams, too.`,
		Example: `  wabridge streams
  wabridge streams --json | jq -c '.[]' | while read -r stream; do
    echo "$stream" > stream.json && nats stream add --config stream.json
  done`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := dial(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer c.close(cmd.Context())
			if asJSON {
				return encodeJSON(cmd.OutOrStdout(), c.broker.Specs())
			}
			return c.writeStreams(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what an operator should create, as a JSON array")
	return cmd
}

// found is one stream beside what it must be.
type found struct {
	wanted jetstream.StreamConfig
	info   *jetstream.StreamInfo // nil where it is missing
	err    error
}

// compareStreams looks at every stream.
func (c *client) compareStreams(ctx context.Context) ([]found, error) {
	// It creates nothing here, and learns how many shards there are. What else
	// it finds is found again below, stream by stream, unless nobody answers.
	err := c.broker.Ensure(ctx)
	for _, silence := range []error{broker.ErrNoJetStream, nats.ErrNoResponders, nats.ErrTimeout, context.DeadlineExceeded} {
		if errors.Is(err, silence) {
			return nil, err
		}
	}
	specs := c.broker.Specs()
	list := make([]found, 0, len(specs))
	for _, wanted := range specs {
		info, err := c.broker.Compare(ctx, wanted)
		list = append(list, found{wanted, info, err})
	}
	return list, nil
}

func (c *client) writeStreams(ctx context.Context, out io.Writer) error {
	list, err := c.compareStreams(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tWANTED\tFOUND\tMESSAGES\tSTATE")
	wrong := 0
	for _, f := range list {
		is, messages, state := "-", "-", "ok"
		if f.info != nil {
			is, messages = describe(f.info.Config), fmt.Sprint(f.info.State.Msgs)
		}
		if f.err != nil {
			wrong++
			state = "missing"
			if !errors.Is(f.err, jetstream.ErrStreamNotFound) {
				state = strings.ReplaceAll(f.err.Error(), "\n", "; ")
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.wanted.Name, describe(f.wanted), is, messages, state)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	if wrong > 0 {
		return fmt.Errorf("%d streams are missing or not as they must be", wrong)
	}
	return nil
}

// describe is a stream's configuration in short.
func describe(c jetstream.StreamConfig) string {
	age := "no age limit"
	if c.MaxAge > 0 {
		age = fmt.Sprintf("%g d", c.MaxAge.Hours()/24)
	}
	return fmt.Sprintf("R%d, %s, %s", c.Replicas, strings.ToLower(c.Storage.String()), age)
}
