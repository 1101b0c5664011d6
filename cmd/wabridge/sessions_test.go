package main

import (
	"encoding/json"
	"strings"
	"testing"

	"wabridge/bridge/bridgetest"
)

// put stores a value in a bucket.
func put(t *testing.T, server *bridgetest.Server, bucket, key, value string) {
	t.Helper()
	kv, err := server.JetStream(t).KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// stored is what the bucket of sessions holds of one; "" is nothing.
func stored(t *testing.T, server *bridgetest.Server, key string) string {
	t.Helper()
	kv, err := server.JetStream(t).KeyValue(t.Context(), "wa_sessions")
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), key)
	if err != nil {
		return ""
	}
	return string(entry.Value())
}

// shown is `sessions show --json`.
func shown(t *testing.T, id string) shownSession {
	t.Helper()
	var s shownSession
	if err := json.Unmarshal([]byte(command(t, "", "sessions", "show", id, "--json").want(t, exitOK).out), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

const added = "sessions add demo --platform chatapi --url wss://chat.example/{session} --token-url https://id.example/token " +
	"--client-id demo --client-secret env:DEMO_SECRET --scopes a,b"

// TestSessionsWithoutABridge defines, pauses, resumes and removes a session
// while no bridge runs.
func TestSessionsWithoutABridge(t *testing.T) {
	server := natsWithStreams(t)
	command(t, "", strings.Fields(added)...).want(t, exitOK)
	want := `{"id":"demo","platform":"chatapi","url":"wss://chat.example/{session}","token_url":"https://id.example/token",` +
		`"client_id":"demo","client_secret":"env:DEMO_SECRET","scopes":["a","b"]}`
	if got := stored(t, server, "demo"); got != want {
		t.Errorf("stored %s\nwant   %s", got, want)
	}
	if r := command(t, "", strings.Fields(added)...).want(t, exitFailed); !strings.Contains(r.errors, "is defined already: --replace") {
		t.Errorf("again: %s", r.errors)
	}
	command(t, "", strings.Fields(added+" --replace")...).want(t, exitOK)
	if s := shown(t, "demo"); !s.Stored || s.Platform != "chatapi" || s.State != "" || s.Definition == nil || s.Paused {
		t.Errorf("show: %+v", s)
	}
	if r := command(t, "", "sessions", "pause", "demo").want(t, exitOK); r.out != "session demo is paused\n" {
		t.Errorf("pause: %q", r.out)
	}
	if r := command(t, "", "sessions", "pause", "demo").want(t, exitOK); r.out != "session demo was paused already\n" {
		t.Errorf("pause: %q", r.out)
	}
	if got := stored(t, server, "demo"); got != strings.TrimSuffix(want, "}")+`,"paused":true}` {
		t.Errorf("paused: %s", got)
	}
	command(t, "", "sessions", "resume", "demo").want(t, exitOK)
	if s := shown(t, "demo"); s.Paused || s.Definition.Resumed == "" {
		t.Errorf("resumed: %+v", s)
	}
	if r := command(t, "", "sessions", "rm", "demo", "nobody").want(t, exitFailed); r.out != "session demo is removed\n" ||
		!strings.Contains(r.errors, "session nobody: no such session") {
		t.Errorf("rm: %q %q", r.out, r.errors)
	}
	for _, step := range []struct{ line, want string }{
		{added + " --json", `{"session":"demo","did":"added","changed":true}`},
		{"sessions pause demo --json", `{"session":"demo","did":"paused","changed":true}`},
		{"sessions pause demo --json", `{"session":"demo","did":"paused","changed":false}`},
		{"sessions resume demo --json", `{"session":"demo","did":"resumed","changed":true}`},
		{"sessions rm demo --json", `{"session":"demo","did":"removed","changed":true}`},
	} {
		if r := command(t, "", strings.Fields(step.line)...).want(t, exitOK); r.out != step.want+"\n" {
			t.Errorf("%s: %q, want %s", step.line, r.out, step.want)
		}
	}
	if r := command(t, "", "sessions", "rm", "nobody", "--json").want(t, exitFailed); r.out != "" || !strings.Contains(r.errors, "no such session") {
		t.Errorf("rm --json of nobody: %q %q", r.out, r.errors)
	}
	command(t, "", "sessions", "show", "demo").want(t, exitFailed)
	if stored(t, server, "demo") != "" {
		t.Error("the definition is still there")
	}
}

// TestSessionsSeen: sessions of the environment and those that a bridge told
// of are listed with what the buckets say.
func TestSessionsSeen(t *testing.T) {
	server := natsWithStreams(t)
	environment(t, append(shop(), "NATS_URL="+server.URL())...)
	state := func(id, state string) {
		put(t, server, "wa_state", "state."+id, `{"state":"`+state+`","reason":"so \u001b[2J","at":"2026-11-23T12:00:00Z","replica":"one"}`)
	}
	state("shop", "forbidden")
	state("elsewhere", "connected")
	state("gone", "stopped")
	put(t, server, "wa_state", "position.shop", "{}")
	put(t, server, "wa_sessions", "broken", `{"platform":"chatapi","client_secret":"hunter2-hunter2"}`)
	for range 3 {
		publish(t, server, "wa.send.shop", `{"to":"+15550142233","text":"hello"}`)
	}
	put(t, server, "wa_backlog", "shop", "2 2")
	put(t, server, "wa_backlog", "elsewhere", "")

	r := command(t, "", "sessions", "ls").want(t, exitOK)
	var lines []string
	for l := range strings.Lines(r.out) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "SESSION PLATFORM STATE") || !strings.HasPrefix(lines[1], "broken - - - - live definition of session broken") ||
		!strings.HasPrefix(lines[2], "elsewhere - connected") || !strings.HasPrefix(lines[3], "shop chatapi forbidden") ||
		!strings.HasSuffix(lines[3], `one from 2 so \x1b[2J`) || !strings.Contains(lines[2], "one live") {
		t.Errorf("ls:\n%s", r.out)
	}
	if strings.Contains(r.out, "hunter2") {
		t.Error("a secret is printed")
	}
	if r := command(t, "", "sessions", "ls", "--all", "--json").want(t, exitOK); strings.Count(r.out, "\n") != 4 || !strings.Contains(r.out, `"session":"gone"`) {
		t.Errorf("ls --all --json:\n%s", r.out)
	}
	if s := shown(t, "shop"); s.Backlog != 2 || s.Waiting != 2 || s.State != "forbidden" || s.Replica != "one" || s.Stored {
		t.Errorf("show: %+v", s)
	}
	if r := command(t, "", "sessions", "show", "shop").want(t, exitOK); !strings.Contains(r.out, "2 commands") || !strings.Contains(r.out, "by the bridge's environment") {
		t.Errorf("show:\n%s", r.out)
	}

	if r := command(t, "", "__complete", "sessions", "pause", "").want(t, exitOK); !strings.Contains(r.out, "shop\tforbidden\n") {
		t.Errorf("completion: %q", r.out)
	}

	// Of such a session the bucket holds no more than a word.
	command(t, "", "sessions", "pause", "shop", "elsewhere").want(t, exitOK)
	for _, id := range []string{"shop", "elsewhere"} {
		if got := stored(t, server, id); got != `{"id":"`+id+`","paused":true}` {
			t.Errorf("paused: %s", got)
		}
	}
	command(t, "", "sessions", "resume", "shop").want(t, exitOK)
	if got := stored(t, server, "shop"); strings.Contains(got, "paused") || !strings.Contains(got, `"resumed":"20`) {
		t.Errorf("resumed: %s", got)
	}
	if r := command(t, "", "sessions", "pause", "nobody").want(t, exitFailed); !strings.Contains(r.errors, "session nobody: no such session") {
		t.Errorf("pause: %s", r.errors)
	}
}

func TestSessionsWithoutBuckets(t *testing.T) {
	server := bridgetest.NATS(t)
	environment(t, "NATS_URL="+server.URL())
	if r := command(t, "", "sessions", "ls").want(t, exitFailed); !strings.Contains(r.errors, "start the bridge once") {
		t.Errorf("ls: %s", r.errors)
	}
}
