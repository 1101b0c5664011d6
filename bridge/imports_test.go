package bridge_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed holds what each package may import of ours; what is missing here may
// not exist. Imports point inward and siblings do not know each other.
func allowed() map[string][]string {
	machinery := []string{"bridge", "codec"}
	platform := []string{"bridge", "codec", "auth"}
	inner := []string{
		"codec", "auth", "bridge", "bridge/outbound", "bridge/inbound", "bridge/ownership",
		"bridge/broker", "bridge/chatapi", "bridge/cloudapi", "bridge/admin", "bridge/telemetry",
	}
	program := append(slices.Clone(inner), "bridge/app")
	everything := append(slices.Clone(program), "bridge/simulator", "bridge/bridgetest")
	return map[string][]string{
		"codec":            nil,
		"auth":             nil,
		"bridge":           {"codec"},
		"bridge/outbound":  machinery,
		"bridge/inbound":   machinery,
		"bridge/ownership": {"bridge"},
		"bridge/broker":    machinery,
		"bridge/chatapi":   platform,
		"bridge/cloudapi":  platform,
		"bridge/admin":     {"bridge"},
		"bridge/telemetry": nil,
		"bridge/app":       inner,
		"bridge/simulator": nil,
		"cmd/wabridge":     program,
		"cmd/wasim":        {"bridge/simulator"},
		"cmd/playground":   append(slices.Clone(program), "bridge/simulator"),

		"bridge/bridgetest":       nil,
		"bridge/bridgetest/stack": everything,
		"bridge/bridgetest/bench": everything,
		"bridge/bridgetest/chaos": everything,

		"deploy/deploytest": nil,

		// What others build on the subjects alone.
		"deploy/clients/go":            nil,
		"deploy/analytics":             nil,
		"deploy/recipes/chat":          nil,
		"deploy/recipes/chat/chattest": {"bridge/bridgetest", "bridge/bridgetest/stack", "deploy/recipes/chat"},
		"deploy/recipes/echo":          {"deploy/recipes/chat"},
		"deploy/recipes/relay":         {"deploy/recipes/chat"},
		"deploy/recipes/homework":      {"deploy/recipes/chat"},
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("reading the list: %v", err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func TestImportsPointInward(t *testing.T) {
	rules := allowed()
	pkgs := list(t, "./...")
	if len(pkgs) < 10 {
		t.Fatalf("found %d packages only: the list is broken", len(pkgs))
	}
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.ImportPath, "wabridge/")
		may, known := rules[name]
		if !known {
			t.Errorf("package %s has no rule here: add one", name)
			continue
		}
		for _, imp := range p.Imports {
			ours, is := strings.CutPrefix(imp, "wabridge/")
			if is && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s; it may import %v of ours", name, ours, may)
			}
			if imp == "github.com/kelseyhightower/envconfig" && name != "cmd/wabridge" {
				t.Errorf("%s reads the environment: cmd/wabridge alone does", name)
			}
		}
	}
}

func TestProductionBinaryIsLean(t *testing.T) {
	pkgs := list(t, "-deps", "./cmd/wabridge")
	if len(pkgs) < 50 {
		t.Fatalf("found %d dependencies only: the list is broken", len(pkgs))
	}
	for _, p := range pkgs {
		for _, banned := range []string{"wabridge/bridge/simulator", "wabridge/bridge/bridgetest", "github.com/nats-io/nats-server"} {
			if strings.HasPrefix(p.ImportPath, banned) {
				t.Errorf("cmd/wabridge holds %s", p.ImportPath)
			}
		}
	}
}
