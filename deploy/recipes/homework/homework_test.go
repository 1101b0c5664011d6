package main

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"wabridge/bridge/bridgetest/stack"
	"wabridge/bridge/simulator"
	"wabridge/deploy/recipes/chat"
	"wabridge/deploy/recipes/chat/chattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHomework(t *testing.T) {
	const ana, ben, teacher = "15550140001", "15550140002", "15550149900"
	s := stack.New(t, stack.Config{})
	for number, name := range map[string]string{ana: "Ana", ben: "Ben", teacher: "Ms Vale"} {
		if err := s.Sim.SetUser(simulator.User{Number: number, Name: name, Level: simulator.LevelAll}); err != nil {
			t.Fatal(err)
		}
	}
	chattest.Start(t, s, "homework-demo", func(ctx context.Context, line chat.Line) error { return run(ctx, line, teacher) })

	question := chattest.Write(t, s, ana, map[string]any{"text": "is 7 x 8 = 54?"})
	page := chattest.Write(t, s, ben, map[string]any{
		"image": map[string]any{"id": s.Sim.AddMedia("image/png", []byte("a page")), "caption": "page 12"},
	})
	onDesk := chattest.Screen(t, s, teacher, 2)
	if onDesk[0].Text != "Ana: is 7 x 8 = 54?" || onDesk[1].Text != "Ben: page 12" || onDesk[1].Media == "" {
		t.Fatalf("the teacher sees %+v", onDesk)
	}
	for _, m := range onDesk {
		if strings.Contains(m.Text, "1555") {
			t.Errorf("the teacher sees a number: %+v", m)
		}
	}

	// Answered in another order than asked, each reaches who asked.
	chattest.Write(t, s, teacher, map[string]any{"text": "well done", "reply_to": onDesk[1].ID})
	chattest.Write(t, s, teacher, map[string]any{"text": "56", "reply_to": onDesk[0].ID})
	chattest.Write(t, s, teacher, map[string]any{"text": "who was that?"})
	chattest.Write(t, s, ana, map[string]any{"location": map[string]any{"latitude": 52.5, "longitude": 13.4}})
	toBen, toAna := chattest.Screen(t, s, ben, 1), chattest.Screen(t, s, ana, 2)
	if toBen[0].Text != "well done" || toBen[0].Quotes != page {
		t.Errorf("Ben sees %+v", toBen)
	}
	if toAna[0].Text != "56" || toAna[0].Quotes != question || !strings.Contains(toAna[1].Text, "text, a picture") {
		t.Errorf("Ana sees %+v", toAna)
	}
	if onDesk = chattest.Screen(t, s, teacher, 3); !strings.Contains(onDesk[2].Text, "by quoting") {
		t.Errorf("the teacher sees %+v", onDesk)
	}
}
