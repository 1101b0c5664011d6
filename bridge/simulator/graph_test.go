package simulator_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/bridge/simulator"
)

const appSecret = "app-secret"

// hook is a webhook receiver that checks signatures.
type hook struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	bodies   []string
	forged   int
	statuses map[string][]string // by message id
	messages []string            // ids
	answer   func() int          // nil = 200
}

func newHook(t *testing.T) *hook {
	h := &hook{t: t, statuses: map[string][]string{}}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	h.url = srv.URL + "/webhook"
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		if r.FormValue("hub.mode") == "subscribe" && r.FormValue("hub.verify_token") == "verify" {
			_, _ = io.WriteString(w, r.FormValue("hub.challenge")) // the simulator reads it
			return
		}
		w.WriteHeader(http.StatusForbidden)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Error(err)
	}
	mac := hmac.New(sha256.New, []byte(appSecret))
	_, _ = mac.Write(b) // a hash does not fail
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		h.forged++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if h.answer != nil {
		if code := h.answer(); code != http.StatusOK {
			w.WriteHeader(code)
			return
		}
	}
	h.bodies = append(h.bodies, string(b))
	var v struct {
		Entry []struct {
			Changes []struct {
				Value struct {
					Messages []struct{ ID string }
					Statuses []struct{ ID, Status string }
				}
			}
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		h.t.Errorf("%v: %s", err, b)
	}
	for _, e := range v.Entry {
		for _, c := range e.Changes {
			for _, m := range c.Value.Messages {
				h.messages = append(h.messages, m.ID)
			}
			for _, s := range c.Value.Statuses {
				h.statuses[s.ID] = append(h.statuses[s.ID], s.Status)
			}
		}
	}
}

func (h *hook) statusesOf(id string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.statuses[id]...)
}

func (h *hook) distinct() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[string]bool{}
	for _, id := range h.messages {
		seen[id] = true
	}
	return len(seen)
}

// newCloud is a platform with a Cloud API session.
func newCloud(t *testing.T, change func(*simulator.Webhook)) (*platform, *hook) {
	t.Helper()
	h := newHook(t)
	w := &simulator.Webhook{URL: h.url, AppSecret: appSecret, VerifyToken: "verify", Token: "system-user", Retry: simulator.Duration(5 * time.Millisecond)}
	if change != nil {
		change(w)
	}
	p := newPlatform(t, func(c *simulator.Config) {
		c.Sessions[0] = simulator.SessionConfig{ID: "demo", PhoneNumberID: "880090070060050", WABAID: "770010020030040", Webhook: w}
	})
	return p, h
}

func (p *platform) graph(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	return p.call(t, method, "/v26.0/"+path, body, "Authorization", "Bearer system-user")
}

func messageID(t *testing.T, answer map[string]any) string {
	t.Helper()
	list, ok := answer["messages"].([]any)
	if !ok || len(list) != 1 {
		t.Fatalf("answer: %v", answer)
	}
	return list[0].(map[string]any)["id"].(string)
}

func TestGraphSend(t *testing.T) {
	p, h := newCloud(t, nil)
	status, answer := p.graph(t, "POST", "880090070060050/messages", textTo(marta, "hi"))
	if status != 200 {
		t.Fatalf("got %d %v", status, answer)
	}
	id := messageID(t, answer)
	contact := answer["contacts"].([]any)[0].(map[string]any)
	if contact["input"] != "+"+marta || contact["wa_id"] != marta {
		t.Errorf("contact: %v", contact)
	}
	eventually(t, "statuses", func() bool { return len(h.statusesOf(id)) == 3 })
	// The same again: Graph knows no idempotency.
	_, answer = p.graph(t, "POST", "880090070060050/messages", textTo(marta, "hi"))
	if messageID(t, answer) == id {
		t.Error("the second send has the id of the first")
	}
	eventually(t, "two deliveries", func() bool { ph, _ := p.Phone(marta); return len(ph.Messages) == 2 })
	eventually(t, "the queue", func() bool { return p.Stats().Sessions["demo"].Unacked == 0 })
}

func TestGraphErrors(t *testing.T) {
	p, _ := newCloud(t, nil)
	if err := p.AddClient(simulator.Client{ID: "weak", Secret: "x", Scopes: []string{simulator.ScopeManagement}}); err != nil {
		t.Fatal(err)
	}
	weak, _, err := p.IssueToken("weak")
	if err != nil {
		t.Fatal(err)
	}
	long := fmt.Sprintf(`{"messaging_product":"whatsapp","to":"+%s","type":"text","text":{"body":%q}}`, marta, strings.Repeat("x", 4097))
	for _, tc := range []struct {
		name, token, path, body string
		fault                   *simulator.Fault
		status, code, subcode   int
	}{
		{"no token", "", "880090070060050/messages", textTo(marta, "x"), nil, 401, 190, 0},
		{"no scope", weak, "880090070060050/messages", textTo(marta, "x"), nil, 403, 10, 0},
		{"other number", "system-user", "1/messages", textTo(marta, "x"), nil, 400, 100, 33},
		{"too long", "system-user", "880090070060050/messages", long, nil, 400, 100, 0},
		{"not JSON", "system-user", "880090070060050/messages", "x", nil, 400, 100, 0},
		{"throughput", "system-user", "880090070060050/messages", textTo(marta, "x"), &simulator.Fault{Kind: simulator.FaultRefuse, Code: 130429}, 429, 130429, 0},
		{"no such edge", "system-user", "880090070060050/nothing", "{}", nil, 400, 100, 33},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.fault != nil {
				p.fault(t, *tc.fault)
			}
			status, answer := p.call(t, "POST", "/v26.0/"+tc.path, tc.body, "Authorization", "Bearer "+tc.token)
			e, _ := answer["error"].(map[string]any)
			if e == nil {
				t.Fatalf("got %d %v", status, answer)
			}
			subcode, _ := e["error_subcode"].(float64)
			if status != tc.status || e["code"] != float64(tc.code) || int(subcode) != tc.subcode || e["fbtrace_id"] == "" {
				t.Errorf("got %d %v", status, answer)
			}
		})
	}
	p.fault(t, simulator.Fault{Kind: simulator.FaultGraph, Session: "demo", Code: 502})
	if status, _ := p.graph(t, "POST", "880090070060050/messages", textTo(marta, "x")); status != 502 {
		t.Errorf("status %d", status)
	}
}

func TestGraphAcceptsAndDrops(t *testing.T) {
	p, h := newCloud(t, nil)
	p.fault(t, simulator.Fault{Kind: simulator.FaultAcceptAndCut})
	body := strings.Replace(textTo(marta, "x"), "{", `{"biz_opaque_callback_data":"mine",`, 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/v26.0/880090070060050/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer system-user")
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close() // the test has failed
		t.Fatalf("answered with %d", resp.StatusCode)
	}
	list, _ := p.Sent("demo", 0, 10)
	if len(list) != 1 || list[0].Callback != "mine" {
		t.Fatalf("sent: %+v", list)
	}
	eventually(t, "statuses", func() bool { return len(h.statusesOf(list[0].ID)) == 3 })
}

func TestWebhookIsEscapedSignedAndRetried(t *testing.T) {
	p, h := newCloud(t, nil)
	refusals := 3
	h.answer = func() int {
		if refusals > 0 {
			refusals--
			return 503
		}
		return 200
	}
	p.fault(t, simulator.Fault{Kind: simulator.FaultForge})
	id, err := p.Write(marta, []byte(`{"session":"demo","text":"é 😀 https://x/y \/"}`))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message", func() bool { return h.distinct() == 1 })
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.forged != 1 || refusals != 0 || h.messages[0] != id {
		t.Errorf("forged %d, refusals left %d, messages %v", h.forged, refusals, h.messages)
	}
	if want := `{"body":"\u00e9 \ud83d\ude00 https:\/\/x\/y \/"}`; !strings.Contains(h.bodies[0], want) {
		t.Errorf("body: %s", h.bodies[0])
	}
}

func TestWebhookHabits(t *testing.T) {
	p, h := newCloud(t, func(w *simulator.Webhook) { w.Batch, w.Twice, w.Shuffle, w.Early = 10, 0.3, 0.3, 1 })
	n := 0
	h.answer = func() int {
		if n++; n%5 == 0 {
			return 500
		}
		return 200
	}
	if _, err := p.Inject(t.Context(), simulator.Load{Session: "demo", Name: "l", Count: 500, Conversations: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all messages", func() bool { return h.distinct() == 500 })
	eventually(t, "the queue", func() bool { return p.Stats().Sessions["demo"].Unacked == 0 })
	h.mu.Lock()
	again, batched := len(h.messages), len(h.bodies)
	h.mu.Unlock()
	if again == 500 || batched >= again {
		t.Errorf("%d messages in %d posts: none twice, or none batched", again, batched)
	}
	h.mu.Lock()
	h.answer = nil
	h.mu.Unlock()
	_, answer := p.graph(t, "POST", "880090070060050/messages", textTo(marta, "x"))
	if len(h.statusesOf(messageID(t, answer))) == 0 {
		t.Error("no status came before the answer")
	}
	st := p.Stats().Sessions["demo"]
	eventually(t, "the queue", func() bool { st = p.Stats().Sessions["demo"]; return st.Unacked == 0 && st.Acked == st.Sequence })
}

func TestWebhookHandshakeAndRawBody(t *testing.T) {
	p, h := newCloud(t, nil)
	if status, answer := p.call(t, "POST", "/control/sessions/demo/verify", ""); status != 200 {
		t.Errorf("verify: %d %v", status, answer)
	}
	raw := `{"object":"whatsapp_business_account",  "entry":[]}`
	if status, answer := p.call(t, "POST", "/control/webhook?session=demo", raw); status != 200 {
		t.Errorf("webhook: %d %v", status, answer)
	}
	eventually(t, "the body", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.bodies) == 1 && h.bodies[0] == raw
	})
}
