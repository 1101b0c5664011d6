package simulator_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wabridge/bridge/simulator"
)

// killed copies what a killed simulator leaves: what it had handed to the system.
func killed(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

func TestStateSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	p := newPlatform(t, func(c *simulator.Config) {
		c.StateDir = dir
		c.Clients[0].RefreshToken = "first"
		c.Delays.Read = simulator.Duration(3600e9)
	})
	access, _, err := p.IssueToken("bridge")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetUser(simulator.User{Number: marta, Name: "Marta", Unread: true}); err != nil {
		t.Fatal(err)
	}
	l := p.dial(t, access)
	l.expect("whatsapp.session.ready")
	l.send("r1", textTo(marta, "x"))
	id := l.result().Messages[0].ID
	l.expect("whatsapp.status.sent")
	l.expect("whatsapp.status.delivered")
	l.send("r2", textTo("15550100000", "x"))
	l.expect("whatsapp.result")
	l.expect("whatsapp.status.sent")
	l.expect("whatsapp.status.delivered")
	l.ack(2)
	eventually(t, "ack", func() bool { return p.Stats().Sessions["demo"].Acked == 2 })
	load := simulator.Load{Session: "demo", Name: "a", Count: 10, Conversations: 2}
	if n, err := p.Inject(t.Context(), load); n != 10 || err != nil {
		t.Fatalf("injected %d, %v", n, err)
	}
	for range 10 {
		l.expect("whatsapp.message.text")
	}

	left := killed(t, dir)
	// A kill in the middle of a write leaves half a record.
	f, err := os.OpenFile(filepath.Join(left, "records.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\x40shalf"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	q := newPlatform(t, func(c *simulator.Config) { c.StateDir = left })
	if u := q.Users(); len(u) == 0 || u[len(u)-1].Name != "Marta" {
		t.Errorf("users: %+v", u)
	}
	before, after := p.Stats().Sessions["demo"], q.Stats().Sessions["demo"]
	if after.Epoch != before.Epoch || after.Acked != 2 || after.Accepted != 2 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	load.Count = 12
	if n, err := q.Inject(t.Context(), load); n != 2 || err != nil {
		t.Errorf("injected %d, %v", n, err)
	}
	l = q.dial(t, access)
	l.expect("whatsapp.session.ready")
	l.send("r1", textTo(marta, "x"))
	var kinds []string
	for range 2 + 10 + 2 + 1 + 1 { // what r2 still has to come, the load, the result
		e := l.next()
		kinds = append(kinds, strings.TrimPrefix(e.Type, "whatsapp."))
		if e.Type == "whatsapp.result" {
			if res := decode[result](t, e.Data); !res.Duplicate || res.Messages[0].ID != id {
				t.Errorf("result: %s", e.Data)
			}
		}
	}
	got := strings.Join(kinds, " ")
	for kind, n := range map[string]int{"message.text": 12, "status.sent": 1, "status.delivered": 1, "result": 1, "status.read": 1} {
		if strings.Count(got, kind) != n {
			t.Errorf("%s: %d times in %s", kind, strings.Count(got, kind), got)
		}
	}
	q.clean(t)
}

func TestWebhooksSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	h := newHook(t)
	h.answer = func() int { return 503 }
	session := simulator.SessionConfig{ID: "demo", Webhook: &simulator.Webhook{URL: h.url, AppSecret: appSecret}}
	p := newPlatform(t, func(c *simulator.Config) { c.StateDir, c.Sessions[0] = dir, session })
	for i, size := range []int{0, 300, 13_000, 200_000} {
		load := simulator.Load{Session: "demo", Name: fmt.Sprint("load", i), Count: 10, Size: size}
		if n, err := p.Inject(t.Context(), load); n != 10 || err != nil {
			t.Fatalf("injected %d, %v", n, err)
		}
	}
	left := killed(t, dir)
	session.Webhook.URL = newHook(t).url // the first simulator goes on elsewhere
	if err := p.AddSession(session); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.answer = nil
	h.mu.Unlock()
	session.Webhook.URL = h.url
	q := newPlatform(t, func(c *simulator.Config) { c.StateDir, c.Sessions[0] = left, session })
	eventually(t, "all messages", func() bool { return h.distinct() == 40 })
	eventually(t, "the queue", func() bool { st := q.Stats().Sessions["demo"]; return st.Unacked == 0 && st.Acked == 40 })
}

func TestAcknowledgedSegmentsGo(t *testing.T) {
	dir := t.TempDir()
	p := newPlatform(t, func(c *simulator.Config) { c.StateDir = dir })
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if n, err := p.Inject(ctx, simulator.Load{Session: "demo", Name: "big", Count: 45, Size: 800 << 10}); n != 45 || err != nil {
		t.Fatalf("injected %d, %v", n, err)
	}
	for i := range 45 {
		l.expect("whatsapp.message.text")
		l.ack(i + 1)
	}
	eventually(t, "old segments to go", func() bool {
		names, err := filepath.Glob(filepath.Join(dir, "events-*.log"))
		return err == nil && len(names) == 1
	})
	p.clean(t)
	q := newPlatform(t, func(c *simulator.Config) { c.StateDir = killed(t, dir) })
	if st := q.Stats().Sessions["demo"]; st.Sequence != 45 || st.Unacked != 0 {
		t.Errorf("after a kill: %+v", st)
	}
}

func TestInjectWaitsForAcks(t *testing.T) {
	p := newPlatform(t, nil)
	done := make(chan error, 1)
	go func() {
		n, err := p.Inject(t.Context(), simulator.Load{Session: "demo", Name: "a", Count: 300, Conversations: 7, Size: 512, Unacked: 50})
		if err == nil && n != 300 {
			err = fmt.Errorf("injected %d", n)
		}
		done <- err
	}()
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	for i := range 300 {
		e := l.expect("whatsapp.message.text")
		body := decode[struct {
			Message struct{ Text struct{ Body string } }
		}](t, e.Data).Message.Text.Body
		if want := fmt.Sprintf("a:%d:%d ", i, i/7); !strings.HasPrefix(body, want) || len(e.Data) < 512 {
			t.Fatalf("message %d: %s", i, e.Data)
		}
		if unacked := p.Stats().Sessions["demo"].Unacked; unacked > 50+64 {
			t.Fatalf("%d unacknowledged", unacked)
		}
		l.ack(i + 1)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.clean(t)
}
