package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaBase = "https://wabridge.invalid/"

// compileSchemas compiles every schema as one draft of JSON Schema.
func compileSchemas(t *testing.T, draft *jsonschema.Draft) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.DefaultDraft(draft)
	for _, name := range SchemaNames() {
		doc := schemaDoc(t, name)
		delete(doc, "$schema") // so that draft counts
		if err := c.AddResource(schemaBase+SchemaFile(name), doc); err != nil {
			t.Fatal(err)
		}
	}
	all := make(map[string]*jsonschema.Schema)
	for _, name := range SchemaNames() {
		if name == AsyncAPI {
			continue
		}
		s, err := c.Compile(schemaBase + SchemaFile(name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = s
	}
	return all
}

func schemaDoc(t *testing.T, name string) map[string]any {
	t.Helper()
	text, ok := Schema(name)
	if !ok {
		t.Fatalf("there is no schema %q", name)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return doc.(map[string]any)
}

// drafts are those that the schemas must mean the same in: the one that they are
// written for and the one that AsyncAPI tools read.
func drafts() map[string]*jsonschema.Draft {
	return map[string]*jsonschema.Draft{"2020-12": jsonschema.Draft2020, "7": jsonschema.Draft7}
}

// validates reports whether a body is as a schema says; the error is nil then.
func validates(s *jsonschema.Schema, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// unsaid reports whether an error is of what no schema can say.
func unsaid(err error) bool {
	e, ok := errors.AsType[*InvalidError](err)
	return ok && (strings.Contains(e.Reason, "the same member twice") ||
		strings.Contains(e.Reason, "must differ from those of the other buttons") ||
		strings.Contains(e.Reason, "in all sections together"))
}

func TestSchemaNames(t *testing.T) {
	want := []string{
		AsyncAPI, "command", "command-event", "command-headers", "dead-headers", "event", "headers", "message", "object", "status",
	}
	if got := SchemaNames(); !slices.Equal(got, want) {
		t.Errorf("the schemas are %v, want %v", got, want)
	}
	for _, name := range []string{"", "no", "../doc", "schema/command", "command.json"} {
		if _, ok := Schema(name); ok {
			t.Errorf("there is a schema %q", name)
		}
	}
}

// The schema of commands and DecodeCommand agree on everything that a schema can
// say, in both drafts: on the corpus, on the commands with one fault each, and
// on the corpus with each value changed.
func TestSchemaOfCommands(t *testing.T) {
	for name, draft := range drafts() {
		t.Run(name, func(t *testing.T) {
			schema := compileSchemas(t, draft)["command"]
			for name, body := range examples(t, "send") {
				agree(t, schema, name, body)
			}
			for _, bad := range badCommands() {
				agree(t, schema, bad.path, []byte(bad.in))
			}
		})
	}
}

func agree(t *testing.T, schema *jsonschema.Schema, name string, body []byte) {
	t.Helper()
	_, decoding := DecodeCommand(nil, body)
	if unsaid(decoding) {
		return
	}
	if validating := validates(schema, body); (decoding == nil) != (validating == nil) {
		t.Errorf("%s: %.300s\ndecoding: %v\nvalidating: %v", name, body, decoding, validating)
	}
}

func TestSchemaOfChangedCommands(t *testing.T) {
	schema := compileSchemas(t, jsonschema.Draft2020)["command"]
	tried, refused := 0, 0
	for name, text := range examples(t, "send") {
		var body any
		if err := json.Unmarshal(text, &body); err != nil {
			t.Fatal(err)
		}
		changes(body, func() {
			changed, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			tried++
			if _, err := DecodeCommand(nil, changed); err != nil {
				refused++
			}
			agree(t, schema, name, changed)
		})
	}
	if tried < 5000 || refused < 2000 || refused > tried*9/10 {
		t.Errorf("%d changes were tried, %d of them refused: that shows little", tried, refused)
	}
}

// changes calls try after each change of one value inside v: another kind, a
// length around a limit, a member less. v is as before when it returns.
func changes(v any, try func()) {
	switch v := v.(type) {
	case map[string]any:
		for name := range maps.Clone(v) {
			was := v[name]
			delete(v, name)
			try()
			for _, other := range others(was) {
				v[name] = other
				try()
			}
			v[name] = was
			changes(was, try)
		}
	case []any:
		for i, was := range v {
			for _, other := range others(was) {
				v[i] = other
				try()
			}
			v[i] = was
			changes(was, try)
		}
	}
}

func others(was any) []any {
	list := []any{nil, true, 7, "", "x", "7", []any{}, map[string]any{}}
	switch was := was.(type) {
	case string:
		for _, limit := range []int{maxLabel, maxRowTitle, maxFlowLabel, maxFooter, maxRowText, maxRowID, maxButtonID, maxCallbackData, maxBody, maxTextBody} {
			list = append(list, strings.Repeat("é", limit), strings.Repeat("é", limit+1))
		}
	case float64:
		list = append(list, was+0.5, -was, was*1000, 91, -181, "-12.5", "181")
	case []any:
		for _, n := range []int{maxButtons, maxButtons + 1, maxSections, maxSections + 1, maxProducts, maxProducts + 1, maxContacts, maxContacts + 1} {
			list = append(list, slices.Repeat(was[:1], n))
		}
	}
	return list
}

// A command in a CloudEvent: the schema and DecodeCommand agree.
func TestSchemaOfCommandEvents(t *testing.T) {
	schema := compileSchemas(t, jsonschema.Draft2020)["command-event"]
	header := map[string][]string{"Content-Type": {cloudEventsJSON}}
	const attributes = `"specversion":"1.0","id":"1","source":"/a","type":"b"`
	for _, body := range []string{
		`{` + attributes + `,"data":{"to":"+15550142233","text":"hi"}}`,
		`{` + attributes + `,"data":{"to":"+15550142233"}}`,
		`{` + attributes + `,"data_base64":"eyJ0byI6IisxNTU1MDE0MjIzMyIsInRleHQiOiJoaSJ9"}`,
		`{` + attributes + `,"data":{"to":"+15550142233","text":"hi"},"data_base64":""}`,
		`{` + attributes + `}`,
		`{"specversion":"1.0","id":"","source":"/a","type":"b","data":{"to":"+15550142233","text":"hi"}}`,
		`{"specversion":"0.3","id":"1","source":"/a","type":"b","data":{"to":"+15550142233","text":"hi"}}`,
		`{"specversion":"1.0","id":"1","type":"b","data":{"to":"+15550142233","text":"hi"}}`,
	} {
		_, decoding := DecodeCommand(header, []byte(body))
		if validating := validates(schema, []byte(body)); (decoding == nil) != (validating == nil) {
			t.Errorf("%s\ndecoding: %v\nvalidating: %v", body, decoding, validating)
		}
	}
}

// Every part of every webhook of the corpus validates as what it is stored as.
func TestSchemaOfWebhooks(t *testing.T) {
	for name, draft := range drafts() {
		t.Run(name, func(t *testing.T) {
			schemas := compileSchemas(t, draft)
			kinds := make(map[PartKind]int)
			for name, body := range examples(t, "webhook") {
				parts, err := ParseWebhook(body)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range parts {
					kinds[p.Kind]++
					if err := validates(schemas[storedAs(p.Kind)], storedBody(t, p)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			if kinds[PartMessage] < 30 || kinds[PartStatus] < 10 || kinds[PartEvent] < 20 {
				t.Errorf("the corpus came apart into %v: too few", kinds)
			}
		})
	}
}

func storedAs(k PartKind) string {
	return map[PartKind]string{PartMessage: "message", PartStatus: "status", PartEvent: "event"}[k]
}

func storedBody(t *testing.T, p WebhookPart) []byte {
	t.Helper()
	if p.Kind != PartStatus {
		return p.Data
	}
	s, err := ParseStatus(p.Data)
	if err != nil {
		t.Fatal(err)
	}
	r := Report{ID: s.ID, To: s.Recipient, Status: s.Status, At: s.At, Raw: s.Raw}
	if s.Error != nil {
		r.Error = &ReportError{Class: Classify(s.Error, 0).Class, Code: s.Error.Code, Title: s.Error.Title, Detail: s.Error.Detail}
	}
	return r.Append(nil)
}

// The members of a report are those of the schema, none more, none less, and so
// are its words, ranks and classes.
func TestSchemaOfReports(t *testing.T) {
	full := Report{
		Ref: "r", ID: "i", To: "1", Status: "failed", At: time.Unix(1795430000, 0), Attempts: 1,
		Error: &ReportError{Class: Permanent, Code: 1, Title: "t", Detail: "d"}, Raw: []byte(`{"id":"i"}`),
	}
	doc := schemaDoc(t, "status")
	defs := doc["$defs"].(map[string]any)
	errorDoc := defs["error"].(map[string]any)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(full.Append(nil), &members); err != nil {
		t.Fatal(err)
	}
	sameNames(t, "a report", members, doc["properties"].(map[string]any))
	// Rank is the one member that is not a field, so a new field is noticed here.
	if got, want := len(members), reflect.TypeFor[Report]().NumField()+1; got != want {
		t.Errorf("the full report has %d members, want %d: fill in every field", got, want)
	}
	var inner map[string]json.RawMessage
	if err := json.Unmarshal(members["error"], &inner); err != nil {
		t.Fatal(err)
	}
	sameNames(t, "its error", inner, errorDoc["properties"].(map[string]any))
	if got, want := len(inner), reflect.TypeFor[ReportError]().NumField(); got != want {
		t.Errorf("its error has %d members, want %d: fill in every field", got, want)
	}

	var classes []any
	for _, c := range Classes() {
		if c != Accepted { // which is no error
			classes = append(classes, c.String())
		}
	}
	enum := func(doc map[string]any, member string) any {
		return doc["properties"].(map[string]any)[member].(map[string]any)["enum"]
	}
	if got := enum(errorDoc, "class"); !reflect.DeepEqual(got, any(classes)) {
		t.Errorf("the classes of a status are %v, want %v", got, classes)
	}
	if got := enum(schemaDoc(t, "dead-headers"), "Wa-Dead-Class"); !reflect.DeepEqual(got, any(classes)) {
		t.Errorf("the classes of a dead letter are %v, want %v", got, classes)
	}

	schema := compileSchemas(t, jsonschema.Draft2020)["status"]
	for _, word := range []string{
		StatusAccepted, StatusRejected, StatusExpired, StatusUnknown, "sent", "delivered", "read", "played", "failed", "warning",
	} {
		r := Report{Ref: "r", Status: word, At: full.At}
		if Rank(word) == 9 {
			r.Error = full.Error
		}
		body := r.Append(nil)
		if err := validates(schema, body); err != nil {
			t.Errorf("%s: %v", word, err)
		}
		if err := validates(schema, bytes.Replace(body, []byte(`"rank":`), []byte(`"rank":1`), 1)); err == nil {
			t.Errorf("%s: a wrong rank validates", word)
		}
	}
}

func sameNames[V any](t *testing.T, what string, members map[string]V, properties map[string]any) {
	t.Helper()
	got, want := slices.Sorted(maps.Keys(members)), slices.Sorted(maps.Keys(properties))
	if !slices.Equal(got, want) {
		t.Errorf("%s has the members %v, the schema %v", what, got, want)
	}
}

// Examples are what they are examples of.
func TestSchemaExamples(t *testing.T) {
	for name, schema := range compileSchemas(t, jsonschema.Draft2020) {
		doc := schemaDoc(t, name)
		if doc["title"] == nil || doc["description"] == nil || doc["$id"] != SchemaFile(name) {
			t.Errorf("%s lacks a title, a description or its id", name)
		}
		list, _ := doc["examples"].([]any)
		for _, example := range list {
			if err := schema.Validate(example); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What SetEventHeaders writes validates as headers.
func TestSchemaOfHeaders(t *testing.T) {
	schema := compileSchemas(t, jsonschema.Draft2020)["headers"]
	h := map[string][]string{"Nats-Msg-Id": {"shop:1"}}
	SetEventHeaders(h, EventAttributes{
		ID: "shop:é", Source: "/wabridge/shop", Type: "whatsapp.message.text", Subject: "1", Time: time.Unix(1795430000, 5),
	})
	value := make(map[string]any, len(h))
	for name, v := range h {
		value[name] = v[0]
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
	for name := range h {
		without := maps.Clone(value)
		delete(without, name)
		if err := schema.Validate(without); (err == nil) != (name == "ce-subject") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
