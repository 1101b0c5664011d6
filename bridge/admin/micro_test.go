package admin_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"wabridge/bridge"
	"wabridge/bridge/admin"
	"wabridge/bridge/bridgetest"
)

// fakeControl answers with what it was asked; errors by session.
type fakeControl struct {
	mu     sync.Mutex
	errors map[string]error
	hang   chan struct{} // a send to "slow" waits for it
}

func (f *fakeControl) answer(what, session string) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return map[string]string{"what": what, "session": session}, f.errors[session]
}

func (f *fakeControl) Status(_ context.Context, session string) (any, error) {
	return f.answer("status", session)
}

func (f *fakeControl) SetPaused(_ context.Context, session string, paused bool) (any, error) {
	return f.answer(fmt.Sprintf("paused %t", paused), session)
}

func (f *fakeControl) Redrive(_ context.Context, session string, sequence uint64, _ []byte) (any, error) {
	return f.answer(fmt.Sprintf("redrive %d", sequence), session)
}

func (f *fakeControl) Send(ctx context.Context, session string, header map[string][]string, body []byte) (any, error) {
	if session == "slow" {
		select {
		case <-f.hang:
		case <-ctx.Done():
			return map[string]string{"status": "pending"}, ctx.Err()
		}
	}
	return f.answer(fmt.Sprintf("send %s %s", header["Nats-Msg-Id"], body), session)
}

// startMicro runs the service until stop, which gives what Run returned.
func startMicro(t *testing.T, control admin.Control) (conn *nats.Conn, stop func() error) {
	t.Helper()
	server := bridgetest.NATS(t)
	names, err := bridge.NewNames("wa")
	if err != nil {
		t.Fatal(err)
	}
	service := admin.NewMicro(admin.MicroConfig{
		Conn: server.Conn(t), Names: names, Control: control, Version: "v1.2.3-4-gabc", Replica: "one",
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the service ended with %v", err)
		}
	})
	conn = server.Conn(t)
	bridgetest.Eventually(t, 20*time.Second, func() bool {
		_, err := conn.Request("wa.ctl.status", nil, time.Second)
		return err == nil
	}, "the service does not answer")
	return conn, stop
}

func TestMicroAnswers(t *testing.T) {
	control := &fakeControl{errors: map[string]error{
		"gone": fmt.Errorf("session gone: %w", bridge.ErrNotFound), "taken": bridge.ErrConflict,
		"late": context.DeadlineExceeded, "broken": errors.New("two\nlines"), "bad": admin.ErrInvalid,
	}}
	conn, _ := startMicro(t, control)
	for _, test := range []struct{ subject, body, want, code string }{
		{"status", "", `{"session":"","what":"status"}`, ""},
		{"status.shop", "", `{"session":"shop","what":"status"}`, ""},
		{"pause.shop", "", `{"session":"shop","what":"paused true"}`, ""},
		{"resume.shop", "", `{"session":"shop","what":"paused false"}`, ""},
		{"redrive.shop", "17", `{"session":"shop","what":"redrive 17"}`, ""},
		{"redrive.shop", ` {"sequence": 18} `, `{"session":"shop","what":"redrive 18"}`, ""},
		{"send.shop", "hello", `{"session":"shop","what":"send [id-1] hello"}`, ""},
		{"redrive.shop", "x", "", "400"},
		{"status.a%b", "", "", "400"},
		{"status.bad", "", "", "400"},
		{"status.gone", "", "", "404"},
		{"status.taken", "", "", "409"},
		{"status.broken", "", "", "500"},
		{"send.late", "", `{"session":"late","what":"send [id-1] "}`, "504"},
	} {
		m := nats.NewMsg("wa.ctl." + test.subject)
		m.Data = []byte(test.body)
		m.Header["Nats-Msg-Id"] = []string{"id-1"}
		answer, err := conn.RequestMsg(m, 20*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", test.subject, err)
		}
		if got := answer.Header.Get(micro.ErrorCodeHeader); got != test.code {
			t.Errorf("%s: code %q, want %q", test.subject, got, test.code)
		}
		if test.want != "" && string(answer.Data) != test.want {
			t.Errorf("%s: %s, want %s", test.subject, answer.Data, test.want)
		}
	}
}

// A send that waits holds nobody else up; when the service stops, it says how
// far it came.
func TestMicroStopsWithWaiters(t *testing.T) {
	conn, stop := startMicro(t, &fakeControl{hang: make(chan struct{})})
	answers, err := conn.SubscribeSync(conn.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	const waiters = 20
	for range waiters {
		if err := conn.PublishRequest("wa.ctl.send.slow", answers.Subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Request("wa.ctl.send.shop", nil, 20*time.Second); err != nil {
		t.Fatalf("a send behind those that wait: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for range waiters {
		m, err := answers.NextMsg(20 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get(micro.ErrorCodeHeader) != "503" || string(m.Data) != `{"status":"pending"}` {
			t.Errorf("a send that waited: %v %s", m.Header, m.Data)
		}
	}
}
