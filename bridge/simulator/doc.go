// Package simulator is a WhatsApp to develop against: an OAuth 2.0 server, the
// Chat API (one WebSocket per session), phones whose users answer, and faults
// on demand. It keeps the platform's half of the protocol in
// deploy/docs/chat-api.md to the letter and tells a bridge that breaks it what
// it broke: the connection is closed with a reason, and Violations lists it.
//
// It shares no code with the bridge. It reads and writes every object by
// itself, so that a mistake on one side shows on the other.
//
//	sim, err := simulator.New(simulator.Config{
//		Sessions: []simulator.SessionConfig{{ID: "demo"}},
//		Clients:  []simulator.Client{{ID: "demo", Secret: "demo"}},
//	})
//	srv := httptest.NewServer(sim.Handler())
//	id, err := sim.Write("15550142233", []byte(`{"session":"demo","text":"hello"}`))
//	phone, ok := sim.Phone("15550142233")
//
// Everything that a method does can be done over HTTP under /control; the
// page at /control describes it (control.md here). State lives in memory;
// with Config.StateDir a killed simulator comes back with its accepted sends,
// its unacknowledged events and its tokens.
package simulator
