package simulator_test

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"

	"wabridge/bridge/simulator"
)

// served is what a browser gets.
type served struct {
	status int
	header http.Header
	body   string
}

// get asks as a browser would, under another Host where that is given.
func (p *platform) get(t *testing.T, method, path, host string, header ...string) served {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return served{resp.StatusCode, resp.Header, string(b)}
}

func TestPageIsServed(t *testing.T) {
	p := newPlatform(t, nil)
	page := p.get(t, http.MethodGet, "/", "")
	if page.status != http.StatusOK || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %s", page.status, page.header)
	}
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %q: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || page.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %s", page.header)
	}
	for _, banned := range []string{"<style", " style=", " onclick", "//cdn", "https://"} {
		if strings.Contains(page.body, banned) {
			t.Errorf("the page holds %q", banned)
		}
	}
	if err := fs.WalkDir(os.DirFS("page"), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		got := p.get(t, http.MethodGet, "/page/"+name, "")
		want, err := os.ReadFile("page/" + name)
		if got.status != http.StatusOK || got.body != string(want) || got.header.Get("Content-Type") == "" {
			t.Errorf("%s: %d %s", name, got.status, got.header)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if body := p.get(t, http.MethodGet, "/page/info", "").body; body != `{"hop":false,"sessions":[{"id":"demo","number":"15555829814"}]}` {
		t.Errorf("info: %s", body)
	}
	for _, path := range []string{"/page/nothing.js", "/page/..%2fpage.go", "/page/", "/hop/info", "/page/media/1"} {
		if got := p.get(t, http.MethodGet, path, "").status; got != http.StatusNotFound {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// A page of another site reaches nothing: not from its own origin, and not by a
// name of its own that resolves to this address.
func TestPageTurnsStrangersAway(t *testing.T) {
	reached := 0
	p := newPlatform(t, func(c *simulator.Config) {
		c.Hop = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })
	})
	for _, path := range []string{"/", "/page/app.js", "/hop/publish", "/control/users"} {
		for _, host := range []string{"evil.example", "evil.example:8080", "127.0.0.1.evil.example"} {
			if got := p.get(t, http.MethodGet, path, host).status; got != http.StatusForbidden {
				t.Errorf("%s as %s: %d", path, host, got)
			}
		}
	}
	for _, path := range []string{"/hop/publish", "/control/faults"} {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://evil.example"}, {"Origin", "http://127.0.0.1:1"}, {"Origin", "null"}} {
			if got := p.get(t, http.MethodPost, path, "", header...).status; got != http.StatusForbidden {
				t.Errorf("%s with %s: %d", path, header, got)
			}
		}
	}
	if reached != 0 {
		t.Errorf("%d requests got through", reached)
	}
	for _, host := range []string{"localhost:8080", "[::1]:8080", "[::1]", "10.0.0.7", "simulator:8080", "page.localhost"} {
		if got := p.get(t, http.MethodGet, "/hop/info", host).status; got != http.StatusOK {
			t.Errorf("as %s: %d", host, got)
		}
	}
	if reached == 0 {
		t.Error("the hop was never asked")
	}
}

// What a user's phone uploads never becomes a page of this origin.
func TestPageShowsMediaSafely(t *testing.T) {
	p := newPlatform(t, nil)
	for _, tc := range []struct{ mime, served, disposition string }{
		{"image/png", "image/png", ""},
		{"audio/ogg; codecs=opus", "audio/ogg", ""},
		{"text/html", "application/octet-stream", "attachment"},
		{"image/svg+xml", "application/octet-stream", "attachment"},
		{"application/pdf", "application/octet-stream", "attachment"},
		{"nonsense;;", "application/octet-stream", "attachment"},
	} {
		got := p.get(t, http.MethodGet, "/page/media/"+p.AddMedia(tc.mime, []byte("<script>1</script>")), "")
		if got.header.Get("Content-Type") != tc.served || got.header.Get("Content-Disposition") != tc.disposition || got.body != "<script>1</script>" {
			t.Errorf("%s: %s", tc.mime, got.header)
		}
		if !strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: no sandbox", tc.mime)
		}
	}
}
