package codec

import (
	"embed"
	"path"
	"slices"
	"strings"
)

//go:embed schema/*.json
var schemaFiles embed.FS

// AsyncAPI is the name of the AsyncAPI document among the schemas.
const AsyncAPI = "asyncapi"

const schemaFolder, schemaExt = "schema", ".json"

// SchemaNames lists the schemas of everything on NATS, in order: "command" for the
// bodies of commands, "message", "status" and "event" for those of what the bridge
// publishes, and so on, and AsyncAPI, which joins them.
func SchemaNames() []string {
	entries, err := schemaFiles.ReadDir(schemaFolder)
	if err != nil {
		return nil // the folder is part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), schemaExt)
	}
	slices.Sort(names)
	return names
}

// Schema gives a schema by its name: JSON Schema 2020-12, or the AsyncAPI 3
// document. It is false where there is none of that name. Schemas refer to each
// other as SchemaFile(name), beside themselves.
func Schema(name string) ([]byte, bool) {
	if strings.Contains(name, "/") {
		return nil, false
	}
	text, err := schemaFiles.ReadFile(path.Join(schemaFolder, SchemaFile(name)))
	return text, err == nil
}

// SchemaFile is the file name by which other schemas refer to a schema.
func SchemaFile(name string) string { return name + schemaExt }
