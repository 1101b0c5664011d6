package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wabridge/bridge"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "wabridge",
		Short: "Join WhatsApp to NATS JetStream",
		Long: `wabridge joins WhatsApp to NATS JetStream: publish to wa.send.<session> and the
message is delivered; what WhatsApp says comes out on wa.recv, wa.status and
wa.event.<session>.

Without a command it runs the service, as "wabridge run" does. Everything is
configured by WABRIDGE_… environment variables: see "wabridge help config".

Exit codes: 0 done, 1 failed, 2 wrong flags or configuration; "wabridge send"
has more.`,
		Example: `  wabridge check
  wabridge
  wabridge send demo --to +15550142233 --text hello
  wabridge tail --since 1h`,
		Args:          commandsOnly,
		RunE:          runService,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(
		newRunCommand(),
		newCheckCommand(),
		newSendCommand(),
		newTailCommand(),
		newStreamsCommand(),
		newSessionsCommand(),
		newLoginCommand(),
		newRegisterCommand(),
		newDeadCommand(),
		newSchemaCommand(),
		newConfigCommand(),
		newHealthcheckCommand(),
		newVersionCommand(),
	)
	return root
}

// commandsOnly refuses what is no command, and names the one that was meant.
func commandsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usageError("unknown command %q; did you mean %q?", args[0], near[0])
	}
	return usageError("unknown command %q (see %s --help)", args[0], cmd.CommandPath())
}

// arguments wraps cobra's own checks, whose errors are about usage.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError("%s: %w (see %s --help)", cmd.CommandPath(), err, cmd.CommandPath())
		}
		return nil
	}
}

// checkSession refuses what cannot be the id of a session.
func checkSession(id string) error {
	if !bridge.ValidID(id) {
		return usageError("%q cannot be a session: want 1 to 64 letters, digits, _ or -", id)
	}
	return nil
}

// isTerminal reports whether a person watches what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// warn prints what a person should look at.
func warn(w io.Writer, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintf(w, "wabridge: warning: %s\n", text)
	}
}
