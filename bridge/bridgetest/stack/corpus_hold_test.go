package stack

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/simulator"
)

// hold is what an error that ends no command does to its session.
type hold int

const (
	holdsNothing hold = iota
	holdsBriefly      // it waits some seconds, or for a new token
	holdsLong         // a minute or more
	holdsForGood      // until a person resumes it
)

func holdOf(code int) hold {
	switch code {
	case 130429, 131056, 0, 190:
		return holdsBriefly
	case 4, 80007, 131048:
		return holdsLong
	case 10, 200, 368, 131005, 131031, 131042, 133010:
		return holdsForGood
	}
	return holdsNothing
}

// Every example of an error that holds a session, each on a session of its own:
// the command is kept, and accepted when the session goes on.
func TestCorpusErrorsThatHold(t *testing.T) {
	type example struct {
		session string
		code    int
		hold    hold
	}
	var examples []example
	for _, file := range corpusFiles(t, "error", 32) {
		var body struct{ Error struct{ Code int } }
		if err := json.Unmarshal(read(t, file), &body); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if h := holdOf(body.Error.Code); h != holdsNothing {
			examples = append(examples, example{strings.TrimSuffix(filepath.Base(file), ".json"), body.Error.Code, h})
		}
	}
	if len(examples) < 14 {
		t.Fatalf("only %d examples hold a session", len(examples))
	}
	ids := make([]string, len(examples))
	for i, e := range examples {
		ids[i] = e.session
	}
	s := New(t, Config{Sessions: ids})
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status("*"))
	for _, e := range examples {
		s.fault(t, simulator.Fault{Kind: simulator.FaultRefuse, Session: e.session, Code: e.code})
		s.Publish(t, e.session, e.session, `{"to":"+15550142233","text":"kept"}`)
	}
	long := 0
	for _, e := range examples {
		switch e.hold {
		case holdsForGood:
			s.WaitState(t, e.session, bridge.Forbidden)
			last, err := s.lastState(e.session)
			if err != nil || !contains(last.Data, strconv.Itoa(e.code)) {
				t.Errorf("%s: the state's reason does not name the code: %s, %v", e.session, last.Data, err)
			}
			s.resume(t, e.session)
		case holdsLong:
			long++
		default:
		}
	}
	_, of := statuses.outcomes(t, len(examples)-long)
	for _, e := range examples {
		got, decided := of[e.session]
		switch {
		case e.hold == holdsLong && decided:
			t.Errorf("%s: its outcome is %q, want none yet", e.session, got.Status)
		case e.hold != holdsLong && (got.Status != "accepted" || got.Attempts < 2 && e.hold == holdsBriefly):
			t.Errorf("%s: after %d attempts the outcome is %q", e.session, got.Attempts, got.Status)
		}
		s.WaitState(t, e.session, bridge.Connected)
	}
	if got := s.Sim.Stats(); got.Accepted != len(examples)-long || got.Refused != len(examples) {
		t.Errorf("the platform refused %d and accepted %d, want %d and %d", got.Refused, got.Accepted, len(examples), len(examples)-long)
	}
	s.checkProtocol(t)
}
