package deploytest

import (
	"bytes"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../../"

// proof says what runs a command of the README: a file of this repository, and
// the place in it.
type proof struct{ file, has string }

// proofs has every command of the README. `go test -run …` needs none: the gate
// runs every test, and TestReadmeNamesTests that there is such a one.
func proofs() map[string]proof {
	ci := func(has string) proof { return proof{".ci/run", has} }
	readme := func(variable string) proof { return proof{"cmd/wabridge/readme_test.go", variable} }
	return map[string]proof{
		"go run ./cmd/playground": {"cmd/playground/main_test.go", "func TestCtrlCLeavesNothingBehind("},
		"go run ./cmd/wasim":      {"deploy/test-lib.sh", `"$dir/wasim" -addr`},
		"go test ./...":           ci("go_tests() {"),
		`nats pub wa.send.demo -H Nats-Msg-Id:order-1234 '{"to":"+15550142233","text":"Your parcel is here"}'`: {"deploy/nats-cli-test.sh", "nats pub wa.send.demo -H Nats-Msg-Id:"},
		`nats req wa.ctl.send.shop '{"to":"+15550142233","text":"hi"}'`:                                        readme(`"nats req "`),
		"go run ./cmd/wabridge send demo --to +15550142233 --text hello":                                       {"cmd/wabridge/binary_test.go", `"send", "demo", "--to", "+15550142233", "--text", "hello"`},
		"go run ./cmd/wabridge tail":             {"cmd/wabridge/binary_test.go", `start(t, program, "tail"`},
		"wabridge check":                         readme(`"wabridge check"`),
		"wabridge run":                           readme(`"wabridge run"`),
		"wabridge sessions add":                  {"cmd/wabridge/sessions_test.go", `"sessions add demo `},
		"wabridge schema save schemas":           {"cmd/wabridge/schema_test.go", `"schema", "save"`},
		"wabridge config":                        {"cmd/wabridge/main_test.go", `command(t, "", "config")`},
		"wabridge help":                          {"cmd/wabridge/main_test.go", `command(t, "", "help", "config")`},
		"docker compose up":                      {"deploy/compose-test.sh", "compose up -d"},
		"bash deploy/nats-cli-test.sh":           ci("bash deploy/nats-cli-test.sh"),
		"go run ./bridge/bridgetest/chaos -peer": ci("chaos -peer"),
		"go run ./bridge/bridgetest/chaos -messages 20000 -faults 12 -seed 1":     ci("chaos -messages 20000 -faults 12 -seed 1"),
		"go test -run '^$' -bench Quiet -benchtime 1x ./bridge/bridgetest/bench":  ci("-bench Quiet -benchtime 1x ./bridge/bridgetest/bench"),
		"go test -run '^$' -bench Bridge -benchtime 1x ./bridge/bridgetest/bench": ci("-bench Bridge -benchtime 1x ./bridge/bridgetest/bench -bridge.runs"),
	}
}

// commands are those of the README's blocks and of code within its text. What
// exports variables is not among them: cmd/wabridge runs the whole of it.
func commands(t *testing.T) []string {
	t.Helper()
	begins := regexp.MustCompile(`^(go|bash|nats|docker|wabridge|curl|helm|python3?|node|make) `)
	var list []string
	add := func(command string) {
		if begins.MatchString(command) && !slices.Contains(list, command) {
			list = append(list, command)
		}
	}
	for line := range strings.SplitSeq(read(t, "README.md"), "\n") {
		if block, ok := strings.CutPrefix(line, "    "); ok {
			add(block)
			continue
		}
		for _, code := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
			add(code[1])
		}
	}
	if len(list) < 20 {
		t.Fatalf("the README has no more commands than %q", list)
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(root + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Every command of the README is run by a test or by the gate.
func TestReadmeCommandsAreRun(t *testing.T) {
	known, all := proofs(), commands(t)
	for _, command := range all {
		p, ok := known[command]
		switch {
		case ok && !strings.Contains(read(t, p.file), p.has):
			t.Errorf("%s: %s has no %q", command, p.file, p.has)
		case !ok && !strings.HasPrefix(command, "go test "):
			t.Errorf("nothing runs %s", command)
		case !ok && strings.Contains(command, "-bench"):
			t.Errorf("nothing runs the benchmark of %s", command)
		}
	}
	for command := range known {
		if !slices.Contains(all, command) {
			t.Errorf("the README has no %s any more", command)
		}
	}
	for _, script := range regexp.MustCompile(`bash (deploy/\S+\.sh)`).FindAllStringSubmatch(read(t, ".ci/run"), -1) {
		read(t, script[1])
	}
}

// What `go test` is asked for in the README is there: a test or benchmark of
// that name, and the flags of the package's own.
func TestReadmeNamesTests(t *testing.T) {
	asked := regexp.MustCompile(`-(run|bench) '?([^' ]+)'?`)
	for _, command := range commands(t) {
		line, ok := strings.CutPrefix(command, "go test ")
		if !ok || line == "./..." {
			continue
		}
		pkg := regexp.MustCompile(`\./\S+`).FindString(line)
		files, err := filepath.Glob(root + pkg + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Errorf("%s: there are no tests in %q: %v", command, pkg, err)
			continue
		}
		var text strings.Builder
		for _, f := range files {
			text.WriteString(read(t, strings.TrimPrefix(f, root)))
		}
		for _, m := range asked.FindAllStringSubmatch(line, -1) {
			kind := map[string]string{"run": "Test", "bench": "Benchmark"}[m[1]]
			if m[2] == "^$" {
				continue
			}
			names := regexp.MustCompile(`(?m)^func (`+kind+`\w+)\(`).FindAllStringSubmatch(text.String(), -1)
			if pattern := regexp.MustCompile(m[2]); !slices.ContainsFunc(names, func(n []string) bool { return pattern.MatchString(n[1]) }) {
				t.Errorf("%s: no %s of %s is called so", command, kind, pkg)
			}
		}
		_, own, _ := strings.Cut(line, pkg)
		for _, f := range regexp.MustCompile(` -([a-z.]+)`).FindAllStringSubmatch(own, -1) {
			if !strings.Contains(text.String(), `("`+f[1]+`"`) {
				t.Errorf("%s: %s has no flag -%s", command, pkg, f[1])
			}
		}
	}
}

// Every link between the documents leads somewhere.
func TestLinksBetweenDocuments(t *testing.T) {
	var pages []string
	for _, dir := range []string{"deploy", "bridge", "codec", "auth", "cmd"} {
		err := filepath.WalkDir(root+dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
				pages = append(pages, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range append(pages, root+"README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(bytes.ReplaceAll(data, []byte("\n"), []byte(" ")), -1) {
			u, err := url.Parse(string(m[1]))
			if err != nil || u.Scheme != "" || u.Path == "" {
				continue // elsewhere, or within the page
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), u.Path)); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}
