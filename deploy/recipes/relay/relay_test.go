package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wabridge/bridge/bridgetest/stack"
	"wabridge/deploy/recipes/chat"
	"wabridge/deploy/recipes/chat/chattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	user  = "15550142233"
	token = "between-the-two"
)

// posted is one request that the other channel got.
type posted struct {
	header http.Header
	body   string
}

// channel is the other channel. It refuses as many requests as refuse says.
func channel(t *testing.T) (url string, refuse *atomic.Int32, got chan posted) {
	refuse, got = new(atomic.Int32), make(chan posted, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- posted{r.Header, string(body)}
	}))
	t.Cleanup(server.Close)
	return server.URL, refuse, got
}

func TestRelay(t *testing.T) {
	url, refuse, got := channel(t)
	s := stack.New(t, stack.Config{})
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: chattest.Patience}
	t.Cleanup(client.CloseIdleConnections)
	chattest.Start(t, s, "relay-demo", func(ctx context.Context, line chat.Line) error {
		r := &relay{line: line, url: url, token: token, client: http.Client{Timeout: patience}}
		defer r.client.CloseIdleConnections()
		return r.run(ctx, l)
	})

	t.Run("from WhatsApp, in order, until it is taken", func(t *testing.T) {
		refuse.Store(1)
		for _, text := range []string{"one", "two"} {
			chattest.Write(t, s, user, map[string]any{"text": text})
		}
		for _, text := range []string{"one", "two"} {
			select {
			case p := <-got:
				if !strings.Contains(p.body, `"body":"`+text+`"`) {
					t.Errorf("posted %s, want %q", p.body, text)
				}
				for name, want := range map[string]string{
					"Ce-Type": "whatsapp.message.text", "Ce-Subject": user, "Ce-Specversion": "1.0",
					"Authorization": "Bearer " + token, "Content-Type": "application/json",
				} {
					if p.header.Get(name) != want {
						t.Errorf("the header %s is %q, want %q", name, p.header.Get(name), want)
					}
				}
			case <-time.After(chattest.Patience):
				t.Fatalf("%q is not posted", text)
			}
		}
	})

	t.Run("to WhatsApp, each key once", func(t *testing.T) {
		for _, c := range []struct {
			token, key, body string
			want             int
		}{
			{token, "1", `{"to":"+15550142233","text":"hello"}`, http.StatusAccepted},
			{token, "1", `{"to":"+15550142233","text":"hello"}`, http.StatusAccepted},
			{token, "2", `{"to":"+15550142233","text":"again"}`, http.StatusAccepted},
			{"", "3", `{"to":"+15550142233","text":"no"}`, http.StatusUnauthorized},
			{token, "", `{"to":"+15550142233","text":"no"}`, http.StatusBadRequest},
			{token, "4", `hello`, http.StatusBadRequest},
			{token, "5", `{"text":"` + strings.Repeat("x", largest) + `"}`, http.StatusBadRequest},
		} {
			if got := post(t, &client, l.Addr().String(), c.token, c.key, c.body); got != c.want {
				t.Errorf("key %q, %.40s: answered %d, want %d", c.key, c.body, got, c.want)
			}
		}
		shown := chattest.Screen(t, s, user, 2)
		if len(shown) != 2 || shown[0].Text != "hello" || shown[1].Text != "again" {
			t.Errorf("the phone shows %+v", shown)
		}
	})
}

func post(t *testing.T, client *http.Client, addr, token, key, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Idempotency-Key", key)
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}
