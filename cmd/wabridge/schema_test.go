package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wabridge/codec"
)

func TestSchema(t *testing.T) {
	environment(t, "NATS_URL=not a server") // none is asked
	r := command(t, "", "schema", "ls").want(t, exitOK)
	for _, want := range []string{"command  ", "status  ", "asyncapi  ", "Headers of a dead letter"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the list lacks %q:\n%s", want, r.out)
		}
	}
	r = command(t, "", "schema", "ls", "--json").want(t, exitOK)
	var list []schemaEntry
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(codec.SchemaNames()) {
		t.Errorf("%d schemas are listed, want %d", len(list), len(codec.SchemaNames()))
	}

	dir := filepath.Join(t.TempDir(), "schemas")
	command(t, "", "schema", "save", dir).want(t, exitOK)
	for _, e := range list {
		want, _ := codec.Schema(e.Name)
		if e.Title == "" || e.File != e.Name+".json" {
			t.Errorf("an entry is %+v", e)
		}
		if r := command(t, "", "schema", "show", e.Name).want(t, exitOK); r.out != string(want) {
			t.Errorf("schema show %s prints something else", e.Name)
		}
		if r := command(t, "", "schema", "show", e.Name, "--json").want(t, exitOK); strings.Count(r.out, "\n") != 1 || !json.Valid([]byte(r.out)) {
			t.Errorf("schema show %s --json is no line of JSON", e.Name)
		}
		if got, err := os.ReadFile(filepath.Join(dir, e.File)); err != nil || string(got) != string(want) {
			t.Errorf("schema save wrote something else to %s: %v", e.File, err)
		}
	}
}

func TestSchemaUsage(t *testing.T) {
	environment(t)
	for line, want := range map[string]string{
		"schema":           "want a command: ls, show or save",
		"schema lss":       `unknown command "lss"; did you mean "ls"?`,
		"schema show":      "accepts 1 arg(s), received 0",
		"schema show what": `there is no schema "what"; want one of asyncapi, command`,
		"schema save":      "accepts 1 arg(s), received 0",
	} {
		r := command(t, "", strings.Fields(line)...).want(t, exitUsage)
		if r.out != "" || strings.Count(r.errors, "\n") != 1 || !strings.Contains(r.errors, want) {
			t.Errorf("%s: out %q, errors %q, want %q", line, r.out, r.errors, want)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "", "schema", "save", file).want(t, exitFailed)
}
