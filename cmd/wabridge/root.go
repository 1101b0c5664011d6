package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"time"

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

Exit codes: 0 done, 1 failed, 2 wrong flags or configuration; "wabridge send" and
"wabridge login" have more, which their help lists.`,
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
	root.SetHelpCommand(newHelpCommand())
	root.Version = cmp.Or(thisBuild().Version, "unknown")
	root.SetVersionTemplate("wabridge {{.Version}}\n")
	return root
}

// newHelpCommand is cobra's, but for a command that is none: that is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [command]",
		Short:   "Help about a command",
		Example: "  wabridge help sessions add",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil {
				err = commandsOnly(about, rest)
			}
			if err != nil {
				return err
			}
			return about.Help()
		},
	}
}

// addCompletion adds cobra's command, which remembers root's output, has it say
// what it wants where no shell is named, and gives it examples.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Args, cmd.SuggestionsMinimumDistance = commandsOnly, 2
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			return usageError("want a shell: bash, fish, powershell or zsh (see %s --help)", cmd.CommandPath())
		}
		cmd.Example = "  wabridge completion bash > /etc/bash_completion.d/wabridge"
		for _, shell := range cmd.Commands() {
			shell.Example = "  wabridge completion " + shell.Name()
		}
	}
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

// checkTimeout refuses a time that is over before it begins.
func checkTimeout(d time.Duration) error {
	if d <= 0 {
		return usageError("--timeout: want a duration such as 30s, more than 0")
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
