package codec

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// The AsyncAPI document holds together: each reference leads somewhere, each
// operation's messages are of its channel, each parameter of an address is
// described, each schema and each message is used.
func TestAsyncAPI(t *testing.T) {
	doc := schemaDoc(t, AsyncAPI)
	if version, _ := doc["asyncapi"].(string); !strings.HasPrefix(version, "3.") {
		t.Errorf("it is AsyncAPI %q", version)
	}
	used := make(map[string]bool)
	eachRef(doc, func(ref string) {
		used[ref] = true
		if !resolves(doc, ref) {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	for _, name := range SchemaNames() {
		if name != AsyncAPI && !used["./"+SchemaFile(name)] {
			t.Errorf("the schema %s is not used", name)
		}
	}
	messages := member(doc, "components", "messages")
	for name := range messages {
		if !used["#/components/messages/"+name] {
			t.Errorf("the message %s is not used", name)
		}
	}

	channels := member(doc, "channels")
	for name, channel := range channels {
		channel := channel.(map[string]any)
		address, _ := channel["address"].(string)
		if want := "wa." + name + ".{session}"; address != want {
			t.Errorf("the address of %s is %q, want %q", name, address, want)
		}
		if parameters := slices.Collect(maps.Keys(member(channel, "parameters"))); !slices.Equal(parameters, []string{"session"}) {
			t.Errorf("the parameters of %s are %v", name, parameters)
		}
		if len(member(channel, "messages")) == 0 {
			t.Errorf("%s has no messages", name)
		}
	}
	operated := make(map[string]bool)
	for name, operation := range member(doc, "operations") {
		operation := operation.(map[string]any)
		channel, _ := member(operation, "channel")["$ref"].(string)
		operated[strings.TrimPrefix(channel, "#/channels/")] = true
		if action, want := operation["action"], direction(channel); action != want {
			t.Errorf("the action of %s is %v, want %s", name, action, want)
		}
		list, _ := operation["messages"].([]any)
		for _, message := range list {
			if ref, _ := message.(map[string]any)["$ref"].(string); !strings.HasPrefix(ref, channel+"/messages/") {
				t.Errorf("the message %s of %s is not one of %s", ref, name, channel)
			}
		}
		if len(list) == 0 {
			t.Errorf("%s has no messages", name)
		}
	}
	if len(operated) != len(channels) {
		t.Errorf("there are operations on %d channels, want %d", len(operated), len(channels))
	}
}

// direction is what the bridge does on a channel: it receives commands.
func direction(channel string) string {
	if channel == "#/channels/send" {
		return "receive"
	}
	return "send"
}

func member(v map[string]any, path ...string) map[string]any {
	for _, name := range path {
		v, _ = v[name].(map[string]any)
	}
	return v
}

func eachRef(v any, found func(ref string)) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			found(ref)
		}
		for _, inner := range v {
			eachRef(inner, found)
		}
	case []any:
		for _, inner := range v {
			eachRef(inner, found)
		}
	}
}

// resolves reports whether a reference of doc leads to an object.
func resolves(doc map[string]any, ref string) bool {
	if file, ok := strings.CutPrefix(ref, "./"); ok {
		_, known := Schema(strings.TrimSuffix(file, schemaExt))
		return known && strings.HasSuffix(file, schemaExt)
	}
	path, ok := strings.CutPrefix(ref, "#/")
	return ok && member(doc, strings.Split(path, "/")...) != nil
}
