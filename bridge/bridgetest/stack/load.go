package stack

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/bridge/simulator"
	"wabridge/codec"
)

// Load sends commands and writes as users, in order in each conversation, and
// then says whether everything that holds has held.
type Load struct {
	Sessions      []string
	Messages      int // of each direction, over all sessions
	Conversations int // of each session
	Every         time.Duration

	stack    *Stack
	statuses *Records
	received *Records
	running  sync.WaitGroup
}

// loadPrefix is what the refs of a load's commands begin with.
const loadPrefix = "out-"

// Start begins the load in the background.
func (l *Load) Start(t testing.TB, s *Stack) {
	t.Helper()
	l.stack = s
	l.statuses = s.Follow(t, s.Names.RecvStream(), s.Names.Status("*"))
	l.received = s.Follow(t, s.Names.RecvStream(), s.Names.Recv("*"))
	l.running.Go(func() {
		tick := time.NewTicker(l.Every)
		defer tick.Stop()
		for i := range l.Messages {
			session, peer := l.place(i)
			s.Publish(t, session, loadPrefix+strconv.Itoa(i), fmt.Sprintf(`{"to":"+%s","text":"%d"}`, peer, i))
			if _, err := s.Sim.Write(peer, fmt.Appendf(nil, `{"session":"%s","text":"in %d"}`, session, i)); err != nil {
				t.Errorf("writing as a user: %v", err)
				return
			}
			<-tick.C
		}
	})
}

// place is the session and the peer of message i.
func (l *Load) place(i int) (session, peer string) {
	return l.Sessions[i%len(l.Sessions)], fmt.Sprintf("1555%07d", i/len(l.Sessions)%l.Conversations)
}

// Check waits until everything has come through, and checks it: one outcome and
// one delivery for each command, each user message stored once, the order of
// each conversation kept, the protocol unbroken.
func (l *Load) Check(t testing.TB) {
	t.Helper()
	l.running.Wait()
	outcomes := make(map[string]int)
	reads := make(map[string]bool)
	for len(outcomes) < l.Messages || len(reads) < l.Messages {
		ref, word := StatusOf(t, l.statuses.Next(t))
		if !strings.HasPrefix(ref, loadPrefix) {
			continue // another's
		}
		switch word {
		case "accepted":
			outcomes[ref]++
		case "rejected", "expired", "unknown":
			t.Fatalf("%s is %s", ref, word)
		case "read":
			reads[ref] = true
		}
	}
	for ref, n := range outcomes {
		if n != 1 {
			t.Errorf("%s has %d outcomes", ref, n)
		}
	}
	stored, once := order{}, make(map[string]bool)
	for range l.Messages {
		m := l.received.Next(t)
		_, text, _ := strings.Cut(string(m.Data()), `"in `)
		number, _, _ := strings.Cut(text, `"`)
		switch {
		case once[number]:
			t.Errorf("message %s is stored twice", number)
		case l.stack.front == nil: // webhooks come in any order
			stored.add(t, m.Subject()+" "+m.Headers().Get("ce-subject"), number)
		}
		once[number] = true
	}
	delivered, total := order{}, 0
	for _, session := range l.Sessions {
		sent, _ := l.stack.Sim.Sent(session, 0, 10*l.Messages)
		total += len(sent)
		for _, m := range sent {
			delivered.add(t, session+" "+m.Number, strings.TrimPrefix(refOf(t, m), loadPrefix))
		}
	}
	if total != l.Messages {
		t.Errorf("%d messages were delivered, want %d", total, l.Messages)
	}
	if v := l.stack.Sim.Violations(); len(v) > 0 {
		t.Errorf("the bridge broke the protocol: %+v", v)
	}
}

// order is the last number seen in each conversation.
type order map[string]int

func (o order) add(t testing.TB, conversation, number string) {
	t.Helper()
	i, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("%q is not the number of a message", number)
	}
	if before, seen := o[conversation]; seen && i <= before {
		t.Errorf("conversation %s: message %d after %d", conversation, i, before)
	}
	o[conversation] = i
}

// refOf is the ref of the command behind a message. The Cloud API does not know
// it but for the callback.
func refOf(t testing.TB, m simulator.Message) string {
	t.Helper()
	callback, ours := codec.ParseCallback(m.Callback)
	if !ours || m.Ref != "" && m.Ref != callback.Ref {
		t.Fatalf("message with ref %q and callback %q", m.Ref, m.Callback)
	}
	return callback.Ref
}
