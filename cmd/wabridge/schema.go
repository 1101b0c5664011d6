package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"wabridge/codec"
)

func newSchemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the schemas of everything on wa.*: JSON Schema and AsyncAPI",
		Long: `Print the schemas of everything on wa.*: JSON Schemas (2020-12) of bodies and
headers, and an AsyncAPI 3 document that joins them. They are part of this
program: no server is asked.`,
		Example: `  wabridge schema ls
  wabridge schema show command
  wabridge schema save schemas`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError("want a command: ls, show or save (see %s --help)", cmd.CommandPath())
		},
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newSchemaListCommand(), newSchemaShowCommand(), newSchemaSaveCommand())
	return cmd
}

// schemaEntry is one line of the list.
type schemaEntry struct {
	Name  string `json:"name"`
	File  string `json:"file"`
	Title string `json:"title"`
}

func schemaEntries() ([]schemaEntry, error) {
	var list []schemaEntry
	for _, name := range codec.SchemaNames() {
		text, err := findSchema(name)
		if err != nil {
			return nil, err
		}
		var doc struct {
			Title string
			Info  struct{ Title string } // of the AsyncAPI document
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			return nil, fmt.Errorf("reading the schema %s: %w", name, err)
		}
		if doc.Title == "" {
			doc.Title = "AsyncAPI 3: all subjects of " + doc.Info.Title
		}
		list = append(list, schemaEntry{name, codec.SchemaFile(name), doc.Title})
	}
	return list, nil
}

func newSchemaListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the schemas",
		Example: "  wabridge schema ls --json",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := schemaEntries()
			if err != nil {
				return err
			}
			if asJSON {
				return encodeJSON(cmd.OutOrStdout(), list)
			}
			return writeSchemas(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func writeSchemas(out io.Writer, list []schemaEntry) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tWHAT")
	for _, e := range list {
		fmt.Fprintf(w, "%s\t%s\n", e.Name, e.Title)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the list: %w", err)
	}
	return nil
}

func newSchemaShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Print one schema",
		Example: `  wabridge schema show status
  wabridge schema show asyncapi --json | jq .channels`,
		Args: arguments(cobra.ExactArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return codec.SchemaNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := findSchema(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				var line bytes.Buffer
				if err := json.Compact(&line, text); err != nil {
					return fmt.Errorf("compacting the schema: %w", err)
				}
				line.WriteByte('\n')
				text = line.Bytes()
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it in one line")
	return cmd
}

func newSchemaSaveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "save DIR",
		Short: "Write all schemas into a folder",
		Long: `Write all schemas into a folder, which is created where it is missing: the
AsyncAPI document refers to the others as files beside it.`,
		Example: "  wabridge schema save schemas",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o750); err != nil {
				return fmt.Errorf("creating the folder: %w", err)
			}
			for _, name := range codec.SchemaNames() {
				text, err := findSchema(name)
				if err != nil {
					return err
				}
				file := filepath.Join(args[0], codec.SchemaFile(name))
				if err := os.WriteFile(file, text, 0o600); err != nil {
					return fmt.Errorf("writing a schema: %w", err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), file)
			}
			return nil
		},
	}
}

func findSchema(name string) ([]byte, error) {
	text, ok := codec.Schema(name)
	if !ok {
		return nil, usageError("there is no schema %q; want one of %s", name, strings.Join(codec.SchemaNames(), ", "))
	}
	return text, nil
}
