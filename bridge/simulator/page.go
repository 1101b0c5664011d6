package simulator

import (
	"embed"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page load what is served here, run no other script and
// make no markup out of text.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// pageRoutes is the page: a phone, the hop and the faults.
func (s *Simulator) pageRoutes(mux *http.ServeMux) {
	page := http.NewServeMux()
	page.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { s.servePageFile(w, "index.html") })
	page.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) { s.servePageFile(w, r.PathValue("file")) })
	page.HandleFunc("GET /page/info", s.servePageInfo)
	page.HandleFunc("GET /page/media/{id}", s.servePageMedia)
	mux.Handle("/{$}", ownPage(page))
	mux.Handle("/page/", ownPage(page))
	if s.cfg.Hop != nil {
		mux.Handle("/hop/", ownPage(s.cfg.Hop))
	}
}

// ownPage turns away pages of other origins, and those that reach this address
// by a domain of their own (DNS rebinding).
func ownPage(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			http.Error(w, "open this page by an IP address or a name without dots, such as localhost", http.StatusForbidden)
			return
		}
		header := w.Header()
		header.Set("Content-Security-Policy", pagePolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// localHost tells whether a Host header is no public domain: an IP address, or
// a name without dots, such as that of a container.
func localHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return host != "" && (net.ParseIP(host) != nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost"))
}

func (s *Simulator) servePageFile(w http.ResponseWriter, name string) {
	b, err := fs.ReadFile(pageFiles, path.Join("page", path.Base("/"+name)))
	if err != nil {
		http.Error(w, "no such file", http.StatusNotFound)
		return
	}
	kinds := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".png": "image/png",
	}
	w.Header().Set("Content-Type", kinds[path.Ext(name)])
	_, _ = w.Write(b) // the client may have left
}

// servePageInfo tells the page what there is.
func (s *Simulator) servePageInfo(w http.ResponseWriter, _ *http.Request) {
	type business struct {
		ID     string `json:"id"`
		Number string `json:"number"`
	}
	info := struct {
		Hop      bool       `json:"hop"`
		Sessions []business `json:"sessions"`
	}{Hop: s.cfg.Hop != nil, Sessions: []business{}}
	s.mu.Lock()
	for id, sess := range s.sessions {
		info.Sessions = append(info.Sessions, business{id, sess.cfg.DisplayPhoneNumber})
	}
	s.mu.Unlock()
	slices.SortFunc(info.Sessions, func(a, b business) int { return strings.Compare(a.ID, b.ID) })
	writeJSON(w, http.StatusOK, info)
}

// servePageMedia shows a file on the phone. What is not an image, audio or
// video is only ever downloaded.
func (s *Simulator) servePageMedia(w http.ResponseWriter, r *http.Request) {
	m := s.findMedia(r.PathValue("id"))
	if m == nil {
		http.NotFound(w, r)
		return
	}
	kind, _, err := mime.ParseMediaType(m.mime)
	group, _, _ := strings.Cut(kind, "/")
	if err != nil || !slices.Contains([]string{"image", "audio", "video"}, group) || strings.Contains(kind, "xml") {
		kind = "application/octet-stream"
		w.Header().Set("Content-Disposition", "attachment")
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(m.bytes) // the client may have left
}
