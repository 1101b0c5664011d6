// Package chattest runs a recipe against a real bridge and a simulated WhatsApp.
package chattest

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/bridgetest/stack"
	"wabridge/deploy/recipes/chat"
)

// Patience bounds every wait of a test: far more than anything takes.
const Patience = 30 * time.Second

// Start runs a recipe on the stack's session until the returned function is called or
// the test ends, and waits until it follows the session with durable.
func Start(t *testing.T, s *stack.Stack, durable string, run func(context.Context, chat.Line) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, chat.Line{JS: s.JS, Session: stack.Demo, Log: slog.New(slog.DiscardHandler)})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the recipe ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	bridgetest.Eventually(t, Patience, func() bool {
		_, err := s.JS.Consumer(t.Context(), s.Names.RecvStream(), durable)
		return err == nil
	}, "the recipe does not follow the session")
	return stop
}

// Write has a user write to the session and returns the message's id.
func Write(t *testing.T, s *stack.Stack, number string, message map[string]any) string {
	t.Helper()
	message["session"] = stack.Demo
	body, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Sim.Write(number, body)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Shown is a message of the business on a user's phone.
type Shown struct {
	ID, Type string
	Text     string // or the caption
	Quotes   string // the id of the message that it answers
	Media    string // the id of its file
}

// Screen waits until a user has at least so many messages of the business, and
// returns them in order.
func Screen(t *testing.T, s *stack.Stack, number string, atLeast int) []Shown {
	t.Helper()
	var list []Shown
	bridgetest.Eventually(t, Patience, func() bool {
		list = nil
		phone, _ := s.Sim.Phone(number)
		for _, m := range phone.Messages {
			if m.FromUser {
				continue
			}
			var body struct {
				Text    struct{ Body string }
				Image   struct{ ID, Caption string }
				Context struct {
					MessageID string `json:"message_id"`
				}
			}
			if err := json.Unmarshal(m.Body, &body); err != nil {
				t.Fatal(err)
			}
			list = append(list, Shown{m.ID, m.Type, body.Text.Body + body.Image.Caption, body.Context.MessageID, body.Image.ID})
		}
		return len(list) >= atLeast
	}, "the phone does not show %d messages", atLeast)
	return list
}
