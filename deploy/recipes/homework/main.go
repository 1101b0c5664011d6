// Command homework is a line between students and a teacher: what a student
// writes reaches the teacher with the student's name, and what the teacher
// answers, quoting it, reaches that student and nobody else. Neither sees the
// other's number.
//
//	SESSION=demo TEACHER=15550149900 go run ./deploy/recipes/homework
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/deploy/recipes/chat"
)

// question is what the teacher's answer needs of what a student wrote.
type question struct {
	Student string `json:"student"`
	Message string `json:"message"`
}

type desk struct {
	line      chat.Line
	teacher   string
	questions jetstream.KeyValue
}

func main() {
	chat.Main(func(ctx context.Context, line chat.Line) error {
		return run(ctx, line, os.Getenv("TEACHER"))
	})
}

func run(ctx context.Context, line chat.Line, teacher string) error {
	if teacher == "" {
		return errors.New("want the teacher's number, in digits, in TEACHER")
	}
	questions, err := line.JS.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "homework_" + line.Session, TTL: 30 * 24 * time.Hour})
	if err != nil {
		return fmt.Errorf("opening the bucket of questions: %w", err)
	}
	d := &desk{line: line, teacher: teacher, questions: questions}
	return line.Follow(ctx, "homework-"+line.Session, d.handle)
}

func (d *desk) handle(ctx context.Context, m chat.Message) error {
	if m.Conversation == d.teacher {
		return d.answer(ctx, m)
	}
	return d.ask(ctx, m)
}

// ask brings a student's message to the teacher. Under which id the teacher sees
// it is in the outcome, so that is waited for.
func (d *desk) ask(ctx context.Context, m chat.Message) error {
	command, ok := forward(m, m.Name+": ")
	if !ok {
		return d.say(ctx, m, "Please send text, a picture, a video or a document.")
	}
	id, err := d.line.Outcome(ctx, "homework:"+m.Key, m, chat.To(d.teacher, command))
	if err != nil {
		return err
	}
	if id == "" {
		return d.say(ctx, m, "Your message could not be brought to the teacher.")
	}
	value, err := json.Marshal(question{Student: m.Conversation, Message: m.ID})
	if err != nil {
		return fmt.Errorf("writing a question: %w", err)
	}
	if _, err := d.questions.Put(ctx, chat.KeyOf(id), value); err != nil {
		return fmt.Errorf("noting a question: %w", err)
	}
	return nil
}

// answer brings what the teacher wrote to the student whose message it quotes.
func (d *desk) answer(ctx context.Context, m chat.Message) error {
	entry, err := d.questions.Get(ctx, chat.KeyOf(m.ReplyTo))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return d.say(ctx, m, "Whom is this for? Please answer by quoting a student's message.")
	}
	if err != nil {
		return fmt.Errorf("looking for a question: %w", err)
	}
	var q question
	if err := json.Unmarshal(entry.Value(), &q); err != nil {
		return fmt.Errorf("reading a question: %w", err)
	}
	command, ok := forward(m, "")
	if !ok {
		return d.say(ctx, m, "Only text, pictures, videos and documents can be brought to the student.")
	}
	return d.line.Send(ctx, "homework:"+m.Key, m, chat.To(q.Student, chat.Quote(q.Message, command)))
}

func (d *desk) say(ctx context.Context, m chat.Message, text string) error {
	return d.line.Send(ctx, "homework-note:"+m.Key, m, chat.To(m.Conversation, map[string]any{"text": text}))
}

// forward makes a command of a message's content, with a word before its text.
func forward(m chat.Message, before string) (map[string]any, bool) {
	switch m.Type {
	case "text":
		return map[string]any{"text": before + m.Text}, true
	case "image", "video", "document":
		media := map[string]any{"caption": before + m.Text}
		for _, name := range []string{"object", "id"} { // in wa_media, where the bridge fetched it
			if value, ok := m.Content[name].(string); ok {
				media[name] = value
				return map[string]any{m.Type: media}, true
			}
		}
	}
	return nil, false
}
