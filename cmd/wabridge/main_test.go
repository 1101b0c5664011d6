package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is what one command line came to.
type result struct {
	code        int
	out, errors string
}

// command runs one command line.
func command(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errors bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &out, &errors)
	return result{code, out.String(), errors.String()}
}

func (r result) want(t testing.TB, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nout: %s\nerrors: %s", r.code, code, r.out, r.errors)
	}
	return r
}

// natsWithStreams starts a server with everything on it that a bridge creates,
// and points the environment at it.
func natsWithStreams(t testing.TB, kv ...string) *bridgetest.Server {
	t.Helper()
	server := bridgetest.NATS(t)
	environment(t, append([]string{"NATS_URL=" + server.URL()}, kv...)...)
	createStreams(t, broker.Config{URL: server.URL(), Manage: true, Logger: slog.New(slog.DiscardHandler)})
	return server
}

func createStreams(t testing.TB, config broker.Config) {
	t.Helper()
	b, err := broker.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB) bridge.Names {
	t.Helper()
	n, err := bridge.NewNames(bridge.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUsage: what is wrong with a command line is one line on stderr, exit code
// 2, and nothing on stdout.
func TestUsage(t *testing.T) {
	environment(t)
	for _, test := range []struct{ line, want string }{
		{"sned", `unknown command "sned"; did you mean "send"?`},
		{"quite-another", `unknown command "quite-another"`},
		{"--nonsense", "unknown flag: --nonsense"},
		{"run now", "unknown command \"now\" for \"wabridge run\""},
		{"send", "accepts 1 arg(s), received 0"},
		{"send a.b --to +15550142233 --text x", `"a.b" cannot be a session`},
		{"send demo", "want --to and --text, or --body"},
		{"send demo --to +15550142233", "want --to and --text, or --body"},
		{"send demo --body - --text x", "--body is the whole command"},
		{"send demo --body /does/not/exist", "--body: open /does/not/exist"},
		{"send demo --to +1 --text x --deadline tomorrow", "--deadline: want RFC 3339"},
		{"send demo --to +1 --text x --timeout soon", "invalid argument"},
		{"send demo --to +1 --text x --ref " + strings.Repeat("x", 129), "--ref: "},
		{"tail everything", `"everything" is no kind of message`},
		{"tail recv a.b", `"a.b" cannot be a session`},
		{"tail --since yesterday", "--since: want RFC 3339"},
		{"dead", "want a command: ls, show or replay"},
		{"dead lss", `unknown command "lss"; did you mean "ls"?`},
		{"dead ls --since yesterday", "--since: want RFC 3339"},
		{"dead ls --session a.b", `"a.b" cannot be a session`},
		{"dead show", "accepts 1 arg(s), received 0"},
		{"dead show x", `"x" is no sequence`},
		{"dead replay", "want the sequences of dead letters, or --all"},
		{"dead replay 1 --all", "want the sequences of dead letters, or --all"},
		{"dead replay 0", `"0" is no sequence`},
		{"sessions", "want a command: ls, show, add, rm, pause or resume"},
		{"sessions pase x", `unknown command "pase"; did you mean "pause"?`},
		{"sessions ls x", "unknown command"},
		{"sessions show", "accepts 1 arg(s), received 0"},
		{"sessions show a.b", `"a.b" cannot be a session`},
		{"sessions rm", "requires at least 1 arg(s)"},
		{"sessions pause a.b", `"a.b" cannot be a session`},
		{"sessions add a.b", `"a.b" cannot be a session`},
		{"sessions add x", "--platform: is missing"},
		{"sessions add x --platform telegram", "--platform: want chatapi or cloudapi"},
		{"sessions add x --platform chatapi --url wss://a/b --token hunter2", "--token: want a reference, env:NAME or file:/path"},
		{"sessions add x --platform chatapi --url https://a/b --token env:T", "--url: want a full address that begins with wss://"},
		{"login", "want one of --auth-url, --device-url and --code"},
		{"login --code x --device-url http://x/y --show", "want one of --auth-url, --device-url and --code"},
		{"login a.b --code x --show", `"a.b" cannot be a session`},
		{"login --code x", "want a place for the token: --out, --store or --show"},
		{"login --device-url http://x/y --store", "--store is for a session: name it"},
		{"login shop --device-url http://x/y --store", "--store wants WABRIDGE_TOKEN_KEY"},
		{"login shop --code x --store", "--store keeps refresh tokens"},
		{"login --code x --show --app-secret hunter2", "--app-secret: want a reference"},
		{"register", "accepts 1 arg(s), received 0"},
		{"register a.b", `"a.b" cannot be a session`},
		{"register shop", "want a PIN of six digits"},
		{"register shop --pin-file /does/not/exist", "--pin-file: open /does/not/exist"},
		{"login --auth-url https://x/y --client-id a --show", "--token-url: is missing"},
		{"login --auth-url id.example --token-url https://x/y --client-id a --show", "--auth-url: want a full address"},
		{"login --code x --app-id 1 --show", "--app-secret: is missing"},
		{"login --code x --show --timeout 0", "--timeout: want a duration such as 30s, more than 0"},
		{"send demo --to +1 --text x --timeout -1s", "--timeout: want a duration such as 30s, more than 0"},
		{"check --timeout 0", "--timeout: want a duration"},
		{"register shop --timeout 0", "--timeout: want a duration"},
		{"help nothing", `unknown command "nothing"`},
		{"help sessions pase", `unknown command "pase"; did you mean "pause"?`},
		{"completion", "want a shell: bash, fish, powershell or zsh"},
		{"completion fishy", `unknown command "fishy"; did you mean "fish"?`},
		{"check now", "unknown command"},
		{"streams now", "unknown command"},
		{"version now", "unknown command"},
		{"healthcheck now", "unknown command"},
	} {
		t.Run(test.line, func(t *testing.T) {
			r := command(t, "", strings.Fields(test.line)...).want(t, exitUsage)
			if r.out != "" || strings.Count(r.errors, "\n") != 1 || !strings.HasPrefix(r.errors, "wabridge: ") {
				t.Errorf("want one line on stderr\nout: %q\nerrors: %q", r.out, r.errors)
			}
			if !strings.Contains(r.errors, test.want) {
				t.Errorf("errors %q, want %q", r.errors, test.want)
			}
		})
	}
}

// TestNothingAnswers: where no NATS server is, the line says where it was looked
// for, and nothing else that stands in the address.
func TestNothingAnswers(t *testing.T) {
	environment(t, "NATS_URL=nats://me:swordfish@127.0.0.1:1,nats://127.0.0.1:2")
	for _, line := range []string{"streams", "dead ls", "send demo --to +1 --text x"} {
		r := command(t, "", strings.Fields(line)...).want(t, exitFailed)
		if strings.Count(r.errors, "\n") != 1 || !strings.Contains(r.errors, "nothing answers at 127.0.0.1:1, 127.0.0.1:2") || strings.Contains(r.errors, "swordfish") {
			t.Errorf("%s: %q", line, r.errors)
		}
	}
}

func TestBadConfigurationIsOneLineForEachFault(t *testing.T) {
	environment(t, "NATS_URL=x", "SUBJECT_PREFIX=a.b")
	for _, line := range []string{"run", "send demo --to +1 --text x", "tail", "dead ls", "streams"} {
		r := command(t, "", strings.Fields(line)...).want(t, exitUsage)
		if strings.Count(r.errors, "\n") != 2 || !strings.Contains(r.errors, "wabridge: WABRIDGE_NATS_URL: want") ||
			!strings.Contains(r.errors, "wabridge: WABRIDGE_SUBJECT_PREFIX: want") {
			t.Errorf("%s: %q", line, r.errors)
		}
	}
}

// TestHelp: every command says what it does and how it is used.
func TestHelp(t *testing.T) {
	environment(t)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s: no short help", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s: no example", cmd.CommandPath())
		}
		for line := range strings.SplitSeq(cmd.Long+"\n"+cmd.Example, "\n") {
			if len([]rune(line)) > 100 {
				t.Errorf("%s: a line of %d characters", cmd.CommandPath(), len([]rune(line)))
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRootCommand())

	// What a script could read is there as JSON, but for what is no data.
	noJSON := []string{"run", "completion", "config", "healthcheck", "schema save", "schema", "sessions", "dead"}
	var machine func(cmd *cobra.Command)
	machine = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if name := strings.TrimPrefix(sub.CommandPath(), "wabridge "); !slices.Contains(noJSON, name) && sub.Flags().Lookup("json") == nil {
				t.Errorf("%s has no --json", sub.CommandPath())
			}
			if sub.Name() != "completion" {
				machine(sub)
			}
		}
	}
	machine(newRootCommand())

	// What a program may end with, its help lists; that it does so is tested
	// command by command.
	for line, want := range map[string][]int{
		"--help": {exitOK, exitFailed, exitUsage}, "check --help": {exitOK, exitFailed},
		"send --help":  {exitOK, exitFailed, exitUsage, exitRefused, exitUnknown, exitTimedOut},
		"login --help": {exitOK, exitFailed, exitUsage, exitTimedOut},
	} {
		help := command(t, "", strings.Fields(line)...).want(t, exitOK).out
		_, codes, _ := strings.Cut(strings.ReplaceAll(help, "Exit code ", "Exit codes: "), "Exit codes: ")
		codes, _, _ = strings.Cut(codes, "\n\n")
		for _, code := range want {
			if !regexp.MustCompile(fmt.Sprintf(`(^|[,;\s])%d:?\s`, code)).MatchString(codes) {
				t.Errorf("%s does not explain exit code %d: %q", line, code, codes)
			}
		}
	}

	r := command(t, "", "--help").want(t, exitOK)
	for _, name := range []string{"run", "check", "send", "tail", "streams", "sessions", "login", "register", "dead", "version", "completion", "healthcheck", "config"} {
		if !strings.Contains(r.out, "\n  "+name+" ") {
			t.Errorf("help does not name %s", name)
		}
	}
	if r := command(t, "", "completion", "bash").want(t, exitOK); !strings.Contains(r.out, "__start_wabridge") {
		t.Error("no completion for bash")
	}
}

func TestConfigurationReference(t *testing.T) {
	environment(t)
	help := command(t, "", "help", "config").want(t, exitOK)
	if plain := command(t, "", "config").want(t, exitOK); plain.out != help.out {
		t.Error("wabridge config and wabridge help config differ")
	}
	table := command(t, "", "config", "--markdown").want(t, exitOK)
	global, err := globalVariables()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range global {
		if !strings.Contains(help.out, "  "+v.Name) || !strings.Contains(table.out, "| `"+v.Name+"` |") {
			t.Errorf("%s is missing", v.Name)
		}
	}
	if !strings.Contains(help.out, "WABRIDGE_SESSION_<ID>_CLIENT_SECRET  (secret)") {
		t.Error("secrets are not marked")
	}
	const page = "../../deploy/docs/configuration.md"
	if written, err := os.ReadFile(page); err != nil || string(written) != table.out {
		t.Errorf("%s is not what this prints: go run ./cmd/wabridge config --markdown > deploy/docs/configuration.md (%v)", page, err)
	}
}

func TestVersion(t *testing.T) {
	environment(t)
	if r := command(t, "", "version").want(t, exitOK); !strings.HasPrefix(r.out, "wabridge ") || !strings.Contains(r.out, " go1.") {
		t.Errorf("version: %q", r.out)
	}
	if r := command(t, "", "--version").want(t, exitOK); !strings.HasPrefix(r.out, "wabridge ") {
		t.Errorf("--version: %q", r.out)
	}
	if r := command(t, "", "version", "--json").want(t, exitOK); !strings.Contains(r.out, `"go":"go1.`) {
		t.Errorf("version: %q", r.out)
	}
}

func TestHealthcheck(t *testing.T) {
	ready := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" && !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "nats: not connected\nreplicas: ok\n") // the client sees what is cut off
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	}))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	// The service listens on every address; the check asks the loopback one.
	environment(t, "ADMIN_ADDR=:"+port)
	command(t, "", "healthcheck").want(t, exitOK)
	ready = false
	command(t, "", "healthcheck", "--live").want(t, exitOK)
	if r := command(t, "", "healthcheck").want(t, exitFailed); !strings.Contains(r.errors, "nats: not connected; replicas: ok") {
		t.Errorf("errors: %q", r.errors)
	}
	server.Close()
	command(t, "", "healthcheck").want(t, exitFailed)
	environment(t, "ADMIN_ADDR=off")
	command(t, "", "healthcheck").want(t, exitUsage)
}

// TestNoSecretIsPrinted puts a secret into every variable, one at a time and all
// together, and looks for it in whatever the commands print.
func TestNoSecretIsPrinted(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	global, err := globalVariables()
	if err != nil {
		t.Fatal(err)
	}
	session, err := sessionVariables(sessionPrefix("shop"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, v := range append(global, session...) {
		if name := strings.TrimPrefix(v.Name, prefix+"_"); name != "SESSIONS" { // ids are no secret
			all = append(all, name+"="+secret)
		}
	}
	everything := append(slices.Clone(all), "SESSIONS=shop", "SHOPS="+secret)
	runs := [][]string{everything}
	for _, one := range all {
		// Nothing listens on port 1: a command that goes as far ends there.
		runs = append(runs, append(shop("NATS_URL=nats://127.0.0.1:1", "TOKEN_UNKNOWN="+secret), one))
	}
	for i, env := range runs {
		environment(t, env...)
		lines := []string{"check", "config"}
		if i == 0 {
			lines = append(lines, "run", "streams", "dead ls", "tail", "healthcheck", "send shop --to +1 --text x", "version", "check --json")
		}
		for _, line := range lines {
			r := command(t, "", append(strings.Fields(line), timeouts(line)...)...)
			if strings.Contains(r.out+r.errors, secret) {
				t.Errorf("%s with %s prints it:\n%s%s", line, env[len(env)-1], r.out, r.errors)
			}
		}
	}
}

// timeouts keeps a check from waiting for a server that is not there.
func timeouts(line string) []string {
	if strings.HasPrefix(line, "check") {
		return []string{"--timeout=50ms"}
	}
	return nil
}
