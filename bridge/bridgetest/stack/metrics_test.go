package stack

import (
	"bufio"
	"cmp"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
)

// scrape reads /metrics and gives its lines.
func scrape(t *testing.T, addr string) []string {
	t.Helper()
	_, body := fetch(t, "http://"+addr+"/metrics")
	return strings.Split(body, "\n")
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := cmp.Or(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// exposed are the names of metrics and the labels of each, but for buckets.
func exposed(lines []string) map[string][]string {
	names := map[string][]string{}
	for _, l := range lines {
		if f := strings.Fields(l); len(f) == 4 && f[0] == "#" && f[1] == "TYPE" {
			names[f[2]] = nil
		}
	}
	sample := regexp.MustCompile(`^([a-z_]+)\{(.*)\} `)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for _, l := range lines {
		m := sample.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		name := m[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			cut, has := strings.CutSuffix(name, suffix)
			if _, is := names[cut]; has && is {
				name = cut
			}
		}
		for _, found := range label.FindAllStringSubmatch(m[2], -1) {
			if l := found[1]; l != "le" && !strings.HasPrefix(l, "otel_scope_") && !slices.Contains(names[name], l) {
				names[name] = append(names[name], l)
			}
		}
	}
	return names
}

// documented are the metrics of metrics.md, and the labels of each.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("../../../deploy/docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	row := regexp.MustCompile("^\\| `([a-z_]+)` \\|[^|]*\\|([^|]*)\\|")
	word := regexp.MustCompile("`([a-z_]+)`")
	names := map[string][]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		m := row.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		names[m[1]] = nil
		for _, l := range word.FindAllStringSubmatch(m[2], -1) {
			names[m[1]] = append(names[m[1]], l[1])
		}
	}
	return names
}

// Every metric that running bridges expose is documented with its labels, and
// every one that is documented is there.
func TestMetricsAreDocumented(t *testing.T) {
	found := map[string][]string{}
	for _, platform := range []string{bridge.PlatformChatAPI, bridge.PlatformCloudAPI} {
		addr := bridgetest.FreeAddr(t)
		s := New(t, Config{Platform: platform, App: func(c *app.Config) {
			c.AdminAddr, c.AdminPprof, c.Telemetry.Version = addr, platform == bridge.PlatformChatAPI, "1.2.3"
		}})
		status, _ := fetch(t, "http://"+addr+"/debug/pprof/goroutine?debug=1")
		if served := status == http.StatusOK; served != (platform == bridge.PlatformChatAPI) {
			t.Errorf("%s: profiles: %d", platform, status)
		}
		statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
		received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
		s.Publish(t, Demo, "metrics", `{"to":"+15550142233","text":"hello"}`)
		statuses.Until(t, func(m natsMsg) bool { ref, word := StatusOf(t, m); return ref == "metrics" && word == "read" })
		if _, err := s.Sim.Write("15550142233", []byte(`{"session":"`+Demo+`","text":"hi"}`)); err != nil {
			t.Fatal(err)
		}
		received.Next(t)
		// What is counted is told a moment later.
		counted := `wabridge_outbound_lag_seconds_count`
		var lines []string
		bridgetest.Eventually(t, patience, func() bool {
			lines = scrape(t, addr)
			return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, counted) && strings.HasSuffix(l, " 1") })
		}, "no lag is counted")
		for name, labels := range exposed(lines) {
			found[name] = append(found[name], labels...)
		}
		s.Stop(t)
	}
	wanted := documented(t)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		labels := slices.Compact(slices.Sorted(slices.Values(found[name])))
		want, is := wanted[name]
		if !is {
			t.Errorf("%s %q is not documented", name, labels)
			continue
		}
		if !slices.Contains(labels, "error_type") { // nothing failed
			want = slices.DeleteFunc(want, func(l string) bool { return l == "error_type" })
		}
		if want = slices.Sorted(slices.Values(want)); !slices.Equal(labels, want) {
			t.Errorf("%s has the labels %q, documented are %q", name, labels, want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, is := found[name]; !is {
			t.Errorf("%s is documented and not exposed", name)
		}
	}
}
