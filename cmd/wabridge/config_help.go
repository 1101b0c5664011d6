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
				return writeReference(cmd.OutOrStdout(), markdownReference())
			}
			return writeReference(cmd.OutOrStdout(), plainReference())
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the reference as a page in Markdown")
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if err := writeReference(cmd.OutOrStdout(), plainReference()); err != nil {
			cmd.PrintErrln(err)
		}
	})
	return cmd
}

// reference says how the configuration reference is written.
type reference struct {
	intro, service, session string // what stands before all, and before each part
	line                    func(variable) string
}

const referenceIntro = `wabridge is configured by environment variables alone. A variable that is set
but empty is not set. Standard OTEL_… variables choose where traces and metrics
go. In the name of a session's variable, <ID> is the session's id in upper case,
a dash in it an underscore.

`

func plainReference() reference { return reference{intro: referenceIntro, line: plainLine} }

// markdownReference is a page of the documentation.
func markdownReference() reference {
	const table = "\n| variable | default | meaning |\n|---|---|---|\n"
	return reference{
		intro: "# Configuration\n\n" + strings.ReplaceAll(referenceIntro, "<ID>", "`<ID>`") +
			"This page is what `wabridge config --markdown` prints. `wabridge check` tells what is wrong with a configuration.\n",
		service: "\n## The service\n" + table,
		session: "\n## Each session of `WABRIDGE_SESSIONS`\n" + table,
		line:    markdownLine,
	}
}

// writeReference writes every variable.
func writeReference(w io.Writer, r reference) error {
	global, err := globalVariables()
	if err != nil {
		return err
	}
	session, err := sessionVariables(prefix + "_SESSION_<ID>")
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(r.intro + r.service)
	for _, v := range global {
		b.WriteString(r.line(v))
	}
	b.WriteString(r.session)
	for _, v := range session {
		b.WriteString(r.line(v))
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
	return fmt.Sprintf("| `%s` | %s | %s |\n", v.Name, value, strings.ReplaceAll(v.Description, "|", `\|`))
}
