// Command echo is the smallest bot: it marks what users write as read and says
// it back, quoting it.
//
//	SESSION=demo NATS_URL=nats://127.0.0.1:4222 go run ./deploy/recipes/echo
package main

import (
	"context"

	"wabridge/deploy/recipes/chat"
)

func main() { chat.Main(run) }

func run(ctx context.Context, line chat.Line) error {
	return line.Follow(ctx, "echo-"+line.Session, func(ctx context.Context, m chat.Message) error {
		text := m.Text
		if text == "" {
			text = "I can say back words only."
		}
		read := map[string]any{"status": "read", "message_id": m.ID}
		if err := line.Send(ctx, "echo-read:"+m.Key, m, read); err != nil {
			return err
		}
		return line.Send(ctx, "echo:"+m.Key, m, chat.To(m.Conversation, chat.Quote(m.ID, map[string]any{"text": text})))
	})
}
