package main

import (
	"testing"

	"go.uber.org/goleak"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/bridgetest/stack"
	"wabridge/deploy/recipes/chat/chattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEcho(t *testing.T) {
	const user = "15550142233"
	s := stack.New(t, stack.Config{})
	stop := chattest.Start(t, s, "echo-demo", run)
	first := chattest.Write(t, s, user, map[string]any{"text": "say it"})
	chattest.Write(t, s, user, map[string]any{"location": map[string]any{"latitude": 52.5, "longitude": 13.4}})
	shown := chattest.Screen(t, s, user, 2)
	if shown[0].Text != "say it" || shown[0].Quotes != first || shown[1].Text != "I can say back words only." {
		t.Errorf("the phone shows %+v", shown)
	}
	bridgetest.Eventually(t, chattest.Patience, func() bool {
		phone, _ := s.Sim.Phone(user)
		return phone.Messages[0].Status == "read"
	}, "the message is not marked as read")

	// What is written while the bot is away, or the server, is answered when it
	// comes back, once.
	stop()
	chattest.Write(t, s, user, map[string]any{"text": "are you there"})
	chattest.Start(t, s, "echo-demo", run)
	chattest.Write(t, s, user, map[string]any{"text": "good"})
	chattest.Screen(t, s, user, 4)
	s.NATS.Restart(t)
	chattest.Write(t, s, user, map[string]any{"text": "and now"})
	shown = chattest.Screen(t, s, user, 5)
	if len(shown) != 5 || shown[2].Text != "are you there" || shown[3].Text != "good" || shown[4].Text != "and now" {
		t.Errorf("the phone shows %+v", shown)
	}
}
