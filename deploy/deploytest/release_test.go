package deploytest

import (
	"os"
	"strings"
	"testing"
)

// The release's configuration is well-formed, names only what is there, and its
// image is the one of deploy/Dockerfile but for the build.
func TestReleaseConfiguration(t *testing.T) {
	var c struct {
		Version  int
		Builds   []struct{ ID, Main, Binary string }
		Archives []struct{ Files []string }
		SBOMs    []struct{ Artifacts string } `yaml:"sboms"`
		Dockers  []struct {
			Dockerfile string
			Platforms  []string
		} `yaml:"dockers_v2"`
	}
	readYAML(t, "../../.goreleaser.yaml", &c)
	if c.Version != 2 || len(c.Builds) != 2 || len(c.SBOMs) != 1 || len(c.Archives) != 1 || len(c.Dockers) != 1 {
		t.Fatalf("the configuration reads as %+v", c)
	}
	paths := []string{c.Dockers[0].Dockerfile}
	for _, b := range c.Builds {
		paths = append(paths, b.Main)
	}
	for _, path := range append(paths, c.Archives[0].Files...) {
		if _, err := os.Stat("../../" + strings.TrimSuffix(path, "*")); err != nil {
			t.Error(err)
		}
	}
	image := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, after, found := strings.Cut(string(data), "\nUSER 65532:65532\nEXPOSE 8088")
		if !found {
			t.Fatalf("%s has no such end", path)
		}
		return after
	}
	if image("../Dockerfile") != image("../release/Dockerfile") {
		t.Error("the images of a release and of deploy/Dockerfile differ")
	}
}

// docker-compose.yml: every service is held as tightly as the rest, starts after
// what it needs is healthy, and its ports are this machine's alone.
func TestComposeIsHardened(t *testing.T) {
	type service struct {
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
		SecurityOpt []string `yaml:"security_opt"`
		NetworkMode string   `yaml:"network_mode"`
		Ports       []string
		Profiles    []string
		DependsOn   any `yaml:"depends_on"`
		Healthcheck any
		Environment map[string]string
	}
	var file struct{ Services map[string]service }
	readYAML(t, "../../docker-compose.yml", &file)
	for name, s := range file.Services {
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" {
			t.Errorf("%s: read-only %v, capabilities dropped %v", name, s.ReadOnly, s.CapDrop)
		}
		if s.NetworkMode != "none" && (len(s.SecurityOpt) != 1 || s.SecurityOpt[0] != "no-new-privileges:true") {
			t.Errorf("%s: security options %v", name, s.SecurityOpt)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s: port %s is everybody's", name, port)
			}
		}
		for variable, value := range s.Environment {
			if strings.Contains(variable, "PASSWORD") && value != "${"+variable+":-for-development-only}" {
				t.Errorf("%s: %s is %s", name, variable, value)
			}
		}
		if s.NetworkMode != "none" && len(s.Profiles) == 0 && s.Healthcheck == nil {
			t.Errorf("%s has no health check", name)
		}
		if strings.HasPrefix(name, "bridge-") && s.DependsOn == nil {
			t.Errorf("%s starts before NATS", name)
		}
	}
	for _, name := range []string{"nats-1", "nats-2", "nats-3", "bridge-1", "bridge-2", "simulator", "otel-collector", "jaeger", "prometheus", "grafana"} {
		if _, ok := file.Services[name]; !ok {
			t.Errorf("there is no %s", name)
		}
	}
}

// The provisioning and the collector's configuration are well-formed.
func TestObservabilityFilesAreWellFormed(t *testing.T) {
	var collector struct {
		Receivers, Processors, Exporters map[string]any
		Service                          struct {
			Pipelines map[string]struct{ Receivers, Processors, Exporters []string }
		}
	}
	readYAML(t, "../otel/collector.yaml", &collector)
	if len(collector.Service.Pipelines["traces"].Exporters) == 0 {
		t.Error("traces go nowhere")
	}
	for name, p := range collector.Service.Pipelines {
		for _, part := range []struct {
			used  []string
			there map[string]any
		}{{p.Receivers, collector.Receivers}, {p.Processors, collector.Processors}, {p.Exporters, collector.Exporters}} {
			for _, one := range part.used {
				if _, ok := part.there[one]; !ok {
					t.Errorf("pipeline %s uses %s, which is not defined", name, one)
				}
			}
		}
	}
	var sources struct{ Datasources []struct{ UID, URL string } }
	readYAML(t, "../grafana/provisioning/datasources/datasources.yaml", &sources)
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, "../grafana/provisioning/dashboards/dashboards.yaml", &providers)
	if len(sources.Datasources) != 2 || sources.Datasources[0].UID != "prometheus" || len(providers.Providers) != 1 {
		t.Errorf("got %+v, %+v", sources, providers)
	}
}
