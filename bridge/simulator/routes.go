package simulator

import "net/http"

// routes is the one mux of everything that the simulator serves.
func (s *Simulator) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

	mux.HandleFunc("POST /oauth/token", s.serveToken)
	mux.HandleFunc("POST /oauth/revoke", s.serveRevoke)
	mux.HandleFunc("GET /oauth/authorize", s.serveAuthorize)
	mux.HandleFunc("POST /oauth/device", s.serveDevice)
	mux.HandleFunc("GET /oauth/activate", s.serveActivate)

	mux.HandleFunc("GET /v1/sessions/{session}/ws", s.serveChat)

	// A page of another origin has no business here.
	mux.Handle("/control/", ownPage(s.controlRoutes()))
	mux.HandleFunc("GET /control", s.serveManual)
	mux.HandleFunc("GET /media/{id}", s.serveMedia)
	s.pageRoutes(mux)
	graph := s.graphRoutes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if graphPath.MatchString(r.URL.Path) {
			graph.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
