package deploytest

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest/stack"
)

// rule is one alert.
type rule struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	readYAML(t, "../prometheus/alerts.yml", &file)
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

// queries are the expressions of the dashboard's panels, by title.
func queries(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("../grafana/dashboards/wabridge.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], target.Expr)
		}
		if p.Type != "row" && len(all[p.Title]) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
	}
	return all
}

// Every metric that an alert or a panel asks for, with every label and value
// that it names, is among those that running bridges expose.
func TestAlertsAndDashboardMatchTheMetrics(t *testing.T) {
	exposed := exposition(t)
	check := func(where, expr string) {
		for _, m := range regexp.MustCompile(`\b((?:wabridge|messaging|process|go)_[a-z0-9_]+)(?:\{([^}"]*(?:"[^"]*"[^}"]*)*)\})?`).FindAllStringSubmatch(expr, -1) {
			name, selector := m[1], m[2]
			if slices.Contains([]string{"messaging_destination_template"}, name) {
				continue // a label to group by
			}
			series := regexp.MustCompile(`(?m)^`+name+`(\{.*\})? `).FindAllString(exposed, -1)
			if len(series) == 0 {
				t.Errorf("%s: there is no metric %s", where, name)
				continue
			}
			for _, s := range regexp.MustCompile(`([a-z_]+)(=~|!=|!~|=)"([^"]*)"`).FindAllStringSubmatch(selector, -1) {
				if s[1] == "job" {
					continue // Prometheus sets it
				}
				for value := range strings.SplitSeq(s[3], "|") {
					want := s[1] + `="` + value + `"`
					if !slices.ContainsFunc(series, func(have string) bool { return strings.Contains(have, want) }) {
						t.Errorf("%s: no series of %s has %s", where, name, want)
					}
				}
			}
		}
	}
	for _, r := range alerts(t) {
		check("alert "+r.Alert, r.Expr)
	}
	for title, exprs := range queries(t) {
		for _, expr := range exprs {
			check("panel "+title, expr)
		}
	}
}

// exposition is what a bridge with Chat API sessions and one with Cloud API
// sessions expose, after a message each way.
func exposition(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, platform := range []string{bridge.PlatformChatAPI, bridge.PlatformCloudAPI} {
		s, addr := bridgeOf(t, stack.Config{Platform: platform})
		s.Publish(t, stack.Demo, "one", `{"to":"+15550142233","text":"hello"}`)
		s.Follow(t, s.Names.RecvStream(), s.Names.Status("*")).Statuses(t, "one", 4)
		if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"hi"}`)); err != nil {
			t.Fatal(err)
		}
		s.Follow(t, s.Names.RecvStream(), s.Names.Recv("*")).Next(t)
		status, body := get(t, addr, "/metrics")
		if status != 200 {
			t.Fatalf("/metrics: %d %s", status, body)
		}
		all.WriteString(body + "\n")
	}
	return all.String()
}

// Every alert says how urgent it is, and the runbook has a section for it that
// says what it means and what to do; no section is left from an alert that went.
func TestRunbookExplainsEveryAlert(t *testing.T) {
	data, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]string)
	for part := range strings.SplitSeq(string(data), "\n### ") {
		title, text, _ := strings.Cut(part, "\n")
		sections[title] = text
	}
	for _, r := range alerts(t) {
		if !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) || r.Annotations["summary"] == "" ||
			r.Annotations["runbook_url"] != "deploy/docs/runbook.md" {
			t.Errorf("alert %s: labels %v, annotations %v", r.Alert, r.Labels, r.Annotations)
		}
		text, ok := sections[r.Alert]
		if !ok || !strings.Contains(text, "**Means**") || !strings.Contains(text, "**Do**") {
			t.Errorf("the runbook does not explain %s", r.Alert)
		}
		delete(sections, r.Alert)
	}
	for title := range sections {
		if strings.HasPrefix(title, "Wabridge") {
			t.Errorf("the runbook explains %s, which is no alert", title)
		}
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
