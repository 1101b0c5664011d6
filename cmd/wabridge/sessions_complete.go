package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// completeSessions gives the shell the sessions that an argument may name, as
// many as the command takes. Without NATS it gives none.
func completeSessions(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		c, r, err := registry(ctx, io.Discard)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer c.close(ctx)
		list, err := r.List(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var ids []cobra.Completion
		for _, s := range list {
			if s.Defined() {
				ids = append(ids, cobra.CompletionWithDesc(printable(s.Session), stateOf(&s)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
