package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newConfigCommand() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration reference",
		Example: `  wabridge config
  wabridge config --markdown`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if markdown {
				return writeReference(cmd.OutOrStdout(), "| variable | default | meaning |\n|---|---|---|\n", markdownLine)
			}
			return writeReference(cmd.OutOrStdout(), referenceIntro, plainLine)
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print a Markdown table")
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if err := writeReference(cmd.OutOrStdout(), referenceIntro, plainLine); err != nil {
			cmd.PrintErrln(err)
		}
	})
	return cmd
}

const referenceIntro = `wabridge is configured by environment variables alone. A variable that is set
but empty is not set. Standard OTEL_… variables choose where traces and metrics
go. In the name of a session's variable, <ID> is the session's id in upper case,
a dash in it an underscore.

`

// writeReference writes every variable as line formats it.
func writeReference(w io.Writer, intro string, line func(variable) string) error {
	global, err := globalVariables()
	if err != nil {
		return err
	}
	session, err := sessionVariables(prefix + "_SESSION_<ID>")
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(intro)
	for _, v := range append(global, session...) {
		b.WriteString(line(v))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func plainLine(v variable) string {
	note := ""
	switch {
	case v.Secret:
		note = "  (secret)"
	case v.Default != "":
		note = "  (" + v.Default + ")"
	}
	return fmt.Sprintf("  %s%s\n        %s\n", v.Name, note, v.Description)
}

func markdownLine(v variable) string {
	value := ""
	switch {
	case v.Secret:
		value = "secret"
	case v.Default != "":
		value = "`" + v.Default + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |\n", v.Name, value, v.Description)
}
