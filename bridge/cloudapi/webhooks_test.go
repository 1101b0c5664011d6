package cloudapi

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

const testVerify = "verify-me"

// hooks is a webhook server on a real socket with two numbers of one account.
type hooks struct {
	*Webhooks
	routes   *Routes
	url      string
	shop     *host
	support  *host
	unrouted *host
}

func startHooks(t testing.TB, change ...func(*WebhooksConfig)) *hooks {
	t.Helper()
	h := &hooks{routes: NewRoutes(), shop: newHost(), support: newHost(), unrouted: newHost()}
	h.add(t, Route{
		Session: "shop", PhoneNumberID: testPhone, WABAID: testWABA, AppID: testApp,
		AppSecret: testSecret, PreviousAppSecret: "the secret before", VerifyToken: testVerify, Receiver: h.shop,
	})
	h.add(t, Route{
		Session: "support", PhoneNumberID: "880090070060051", WABAID: testWABA, AppID: testApp,
		AppSecret: testSecret, Receiver: h.support,
	})
	c := WebhooksConfig{Routes: h.routes, Unrouted: h.unrouted, Logger: quiet()}
	for _, f := range change {
		f(&c)
	}
	var err error
	if h.Webhooks, err = NewWebhooks(c); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + l.Addr().String() + WebhookPath
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, ServerConfig{Handler: h, Logger: quiet()}) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		h.Close()
	})
	return h
}

func (h *hooks) add(t testing.TB, r Route) {
	t.Helper()
	if err := h.routes.Add(r); err != nil {
		t.Fatal(err)
	}
}

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// post posts a signed webhook, with headers changed as given, and returns the
// status.
func (h *hooks) post(t testing.TB, body []byte, header ...string) int {
	t.Helper()
	return postTo(t, h.url, bytes.NewReader(body), append([]string{signatureHeader, sign(testSecret, body)}, header...)...)
}

func postTo(t testing.TB, address string, body io.Reader, header ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // a test's end
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

// taken empties what a host has received.
func (h *host) taken() []*bridge.Inbound {
	var all []*bridge.Inbound
	for {
		select {
		case in := <-h.inbound:
			all = append(all, in)
		default:
			return all
		}
	}
}

// nothing fails where anything was given to anyone.
func (h *hooks) nothing(t testing.TB) {
	t.Helper()
	for name, host := range map[string]*host{"shop": h.shop, "support": h.support, "unrouted": h.unrouted} {
		if got := host.taken(); len(got) > 0 {
			t.Errorf("%s was given %d things", name, len(got))
		}
	}
}

func TestCorpusSignatures(t *testing.T) {
	h := startHooks(t)
	r := csv.NewReader(bytes.NewReader(corpus(t, "signatures.tsv")))
	r.Comma, r.Comment = '\t', '#'
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) < 50 {
		t.Fatalf("%d signatures", len(lines))
	}
	for _, line := range lines[1:] {
		body := corpus(t, line[0])
		if status := postTo(t, h.url, bytes.NewReader(body), signatureHeader, line[1]); status != 200 {
			t.Errorf("%s: status %d", line[0], status)
		}
		h.shop.taken()
		h.support.taken()
		h.unrouted.taken()
		body[len(body)/2] ^= 1
		if status := postTo(t, h.url, bytes.NewReader(body), signatureHeader, line[1]); status != 401 {
			t.Errorf("%s with a byte flipped: status %d", line[0], status)
		}
		h.nothing(t)
	}
}

// Every webhook of the corpus is given to the session that it belongs to, in
// the order of the request.
func TestCorpusIsRouted(t *testing.T) {
	h := startHooks(t)
	raw, err := os.ReadFile("../../codec/testdata/webhook.tsv")
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(raw))
	r.Comma, r.LazyQuotes = '\t', true
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bridge.Kind{"message": bridge.KindMessage, "status": bridge.KindStatus, "event": bridge.KindEvent}
	want := make(map[string][][]string)
	for _, line := range lines[1:] {
		want[line[0]] = append(want[line[0]], line)
	}
	for file, parts := range want {
		if status := h.post(t, corpus(t, path.Join("webhook", file))); status != 200 {
			t.Errorf("%s: status %d", file, status)
		}
		var shop, support, unrouted int
		for _, part := range parts {
			switch waba, phone := part[3], part[4]; {
			case phone == testPhone, phone == "" && waba == testWABA:
				in := next(t, h.shop)
				shop++
				if in.Kind != kinds[part[1]] {
					t.Errorf("%s: kind %d, want %s", file, in.Kind, part[1])
				}
				if !strings.Contains(string(in.Data), lastWord(part[5])) {
					t.Errorf("%s: not the part %s", file, part[5])
				}
				if phone == "" {
					next(t, h.support)
				}
			case phone == "880090070060051":
				next(t, h.support)
				support++
			default:
				if in := next(t, h.unrouted); in.Kind != bridge.KindPoison || in.Reason == "" {
					t.Errorf("%s: unrouted %+v", file, in)
				}
				unrouted++
			}
		}
		h.nothing(t)
	}
}

func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

func next(t testing.TB, h *host) *bridge.Inbound {
	t.Helper()
	select {
	case in := <-h.inbound:
		return in
	case <-time.After(soon):
		t.Fatal("nothing was given")
		return nil
	}
}

// message is a webhook with one text message.
func message(phone, id, text string) []byte {
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":%q,"changes":[{"field":"messages","value":`+
		`{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550199001","phone_number_id":%q},`+
		`"contacts":[{"profile":{"name":"M"},"wa_id":"15550142233"}],"messages":[{"from":"15550142233","id":%q,`+
		`"timestamp":"1795430000","type":"text","text":{"body":%s}}]}}]}]}`, testWABA, phone, id, text)
}

// Meta signs and sends escaped text; what is hashed and stored are these bytes.
func TestEscapedBytesPassThrough(t *testing.T) {
	h := startHooks(t)
	text := `"caf\u00e9 \/ <b>  \ud83d\ude00 "`
	if status := h.post(t, message(testPhone, "wamid.1", text)); status != 200 {
		t.Fatalf("status %d", status)
	}
	in := next(t, h.shop)
	if !strings.Contains(string(in.Data), text) {
		t.Errorf("data %s", in.Data)
	}
}

// pending keeps what it receives until it is told what became of it.
type pending struct{ got chan *bridge.Inbound }

func (p *pending) Receive(ctx context.Context, in *bridge.Inbound) error {
	select {
	case p.got <- in:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAnswerComesAfterStoring(t *testing.T) {
	h := startHooks(t)
	store := &pending{got: make(chan *bridge.Inbound, 10)}
	h.add(t, Route{Session: "shop", PhoneNumberID: testPhone, AppSecret: testSecret, Receiver: store})
	status := make(chan int, 1)
	go func() { status <- h.post(t, corpus(t, "webhook/batch_statuses_out_of_order.json")) }()
	var parts []*bridge.Inbound
	for range 3 {
		parts = append(parts, <-store.got)
	}
	for i, in := range parts {
		select {
		case s := <-status:
			t.Fatalf("answered %d after %d of 3 parts", s, i)
		default:
		}
		in.Acker.Stored(in, nil)
	}
	if s := <-status; s != 200 {
		t.Errorf("status %d", s)
	}
}

func TestNotStored(t *testing.T) {
	h := startHooks(t, func(c *WebhooksConfig) { c.StoreTimeout = 200 * time.Millisecond })
	store := &pending{got: make(chan *bridge.Inbound, 1)}
	h.add(t, Route{Session: "shop", PhoneNumberID: testPhone, AppSecret: testSecret, Receiver: store})
	body := message(testPhone, "wamid.1", `"x"`)
	if status := h.post(t, body); status != 503 {
		t.Errorf("taken and not stored: status %d", status)
	}
	// What was taken is stored late: nobody waits any more, and nothing breaks.
	late := <-store.got
	late.Acker.Stored(late, nil)

	store.got <- &bridge.Inbound{} // full: JetStream is away
	if status := h.post(t, body); status != 503 {
		t.Errorf("not taken: status %d", status)
	}
	<-store.got
	status := make(chan int, 1)
	go func() { status <- h.post(t, body) }()
	closed := <-store.got
	closed.Acker.Stored(closed, bridge.ErrClosed)
	if s := <-status; s != 503 {
		t.Errorf("store closed: status %d", s)
	}
}

// Poison is stored as it is and the rest is accepted.
func TestPoisonDoesNotSpoilTheBatch(t *testing.T) {
	h := startHooks(t)
	body := fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":%q,"changes":[`+
		`{"field":"messages","value":{"metadata":{"phone_number_id":%q},"messages":[{"id":"wamid.a","type":"text"},17,{"id":"wamid.b","type":"text"}]}},`+
		`"no change"]},5]}`, testWABA, testPhone)
	if status := h.post(t, body); status != 200 {
		t.Fatalf("status %d", status)
	}
	var kinds []bridge.Kind
	for _, in := range h.shop.taken() {
		kinds = append(kinds, in.Kind)
		if in.Kind == bridge.KindPoison && in.Reason == "" {
			t.Error("poison without a reason")
		}
	}
	want := []bridge.Kind{bridge.KindMessage, bridge.KindPoison, bridge.KindMessage, bridge.KindPoison}
	if !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
	if in := next(t, h.unrouted); string(in.Data) != "5" {
		t.Errorf("unrouted %s", in.Data)
	}
	h.nothing(t)
}

func TestUnreadableButSigned(t *testing.T) {
	h := startHooks(t)
	for _, body := range []string{`not JSON`, `[]`, `{"object":"page","entry":[]}`, "\xff\xfe{", ``} {
		if status := h.post(t, []byte(body)); status != 200 {
			t.Errorf("%q: status %d", body, status)
		}
		if in := next(t, h.unrouted); in.Kind != bridge.KindPoison || string(in.Data) != body {
			t.Errorf("%q: %+v", body, in)
		}
	}
	h.nothing(t)
}

func TestBusy(t *testing.T) {
	h := startHooks(t)
	small := message(testPhone, "wamid.1", `"x"`)
	medium := message(testPhone, "wamid.2", `"`+strings.Repeat("x", 2*requestSpace)+`"`)
	large := message(testPhone, "wamid.3", `"`+strings.Repeat("x", 2*smallBody)+`"`)
	expect := func(when string, a, b, c int) {
		t.Helper()
		for body, want := range map[*[]byte]int{&small: a, &medium: b, &large: c} {
			if got := h.post(t, *body); got != want {
				t.Errorf("%s: %d bytes: status %d, want %d", when, len(*body), got, want)
			}
		}
	}
	expect("empty", 200, 200, 200)
	if !h.space.TryAcquire(webhookSpace - requestSpace) {
		t.Fatal("space was not given back")
	}
	expect("little space", 200, 503, 503)
	if !h.space.TryAcquire(requestSpace) {
		t.Fatal("space was not given back")
	}
	expect("no space", 503, 503, 503)
	h.space.Release(webhookSpace)
	if !h.large.TryAcquire(largeBodies) {
		t.Fatal("a large one's room was not given back")
	}
	expect("as many large ones as may be", 200, 200, 503)
}

func TestServeFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), l, ServerConfig{Handler: http.NotFoundHandler(), CertFile: "x"}); err == nil {
		t.Error("a certificate without a key was taken")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener stays open: %v", err)
	}
}

func FuzzWebhookRequest(f *testing.F) {
	for _, name := range []string{"msg_text", "batch_multi_entry_multi_number", "history_chunk", "status_failed_131047"} {
		if raw, err := os.ReadFile("../../codec/testdata/cloudapi/webhook/" + name + ".json"); err == nil {
			f.Add(raw, "application/json", true)
		}
	}
	f.Add([]byte(`{"object":"whatsapp_business_account","entry":[{"id":"1"}]}`), "application/json; charset=UTF-8", true)
	f.Add([]byte(`{}`), "text/plain", false)
	f.Fuzz(func(t *testing.T, body []byte, contentType string, signed bool) {
		routes := NewRoutes()
		shop, unrouted := newHost(), newHost()
		if err := routes.Add(Route{Session: "shop", PhoneNumberID: testPhone, WABAID: testWABA, AppSecret: testSecret, Receiver: shop}); err != nil {
			t.Fatal(err)
		}
		h, err := NewWebhooks(WebhooksConfig{Routes: routes, Unrouted: unrouted, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, WebhookPath, bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set(signatureHeader, sign("forged", body))
		if signed {
			r.Header.Set(signatureHeader, sign(testSecret, body))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		given := append(shop.taken(), unrouted.taken()...)
		if w.Code != 200 && len(given) > 0 || !signed && w.Code == 200 {
			t.Errorf("status %d, %d parts given", w.Code, len(given))
		}
		for _, in := range given {
			if in.Kind == bridge.KindMessage {
				if _, err := codec.ParseMessage(in.Data); err != nil {
					t.Errorf("a message that cannot be read: %v", err)
				}
			}
		}
	})
}
