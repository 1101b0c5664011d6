package cloudapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"wabridge/codec"
)

const plainMessage = `{"message":{"id":"wamid.1","type":"image","image":{"id":"77", "x":"\u00e9"}},"metadata":{}}`

// attached runs attach and returns the media member, having checked that
// nothing else has changed.
func (k *mediaKit) attached(t testing.TB, file codec.InboundMedia) attachment {
	t.Helper()
	out := k.attach(t.Context(), []byte(plainMessage), &file)
	if !bytes.HasPrefix(out, []byte(strings.TrimSuffix(plainMessage, "}"))) {
		t.Fatalf("the message was changed: %s", out)
	}
	var whole struct {
		Media attachment `json:"media"`
	}
	if err := json.Unmarshal(out, &whole); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return whole.Media
}

func TestFetch(t *testing.T) {
	k := newMediaKit(t)
	content := bytes.Repeat([]byte("picture"), 1000)
	sum := k.serve(t, content)
	raw, err := hex.DecodeString(sum)
	if err != nil {
		t.Fatal(err)
	}
	for _, announced := range []string{sum, base64.StdEncoding.EncodeToString(raw), "", "nonsense"} {
		got := k.attached(t, codec.InboundMedia{Kind: "image", ID: "77", MIME: "image/jpeg", SHA256: announced})
		if want := (attachment{Object: sum, Size: int64(len(content)), SHA256: sum, MIME: "image/jpeg"}); got != want {
			t.Errorf("announced %q: %+v", announced, got)
		}
	}
	// With a known hash the second is found in the store.
	if got := k.server.count("GET bytes"); got != 3 {
		t.Errorf("%d downloads, want 3", got)
	}
	for r := range len(k.server.requests) {
		if req := <-k.server.requests; strings.HasSuffix(req.path, "/bytes") && req.header.Get("Authorization") != "Bearer "+testToken {
			t.Errorf("download %d without the token", r)
		}
	}
}

func TestFetchFailures(t *testing.T) {
	tests := []struct {
		name   string
		set    func(*testing.T, *mediaKit) string // returns the announced hash
		reason string
	}{
		{"unknown id", func(t *testing.T, k *mediaKit) string {
			k.server.answer(t, "GET 77", 400, []byte(`{"error":{"code":100,"error_subcode":33,"message":"secret prose"}}`))
			return ""
		}, "code 100, subcode 33"},
		{"other content", func(t *testing.T, k *mediaKit) string {
			k.serve(t, []byte("content"))
			return strings.Repeat("0", 64)
		}, "SHA-256"},
		{"other content than Graph says", func(t *testing.T, k *mediaKit) string {
			k.serve(t, []byte("content"))
			k.server.on("GET 77", k.locate(t, 7, strings.Repeat("0", 64)))
			return ""
		}, "SHA-256"},
		{"too large", func(t *testing.T, k *mediaKit) string {
			k.server.on("GET 77", k.locate(t, maxMedia+1, ""))
			return ""
		}, "100 MB"},
		{"foreign host", func(t *testing.T, k *mediaKit) string {
			k.server.answer(t, "GET 77", 200, []byte(`{"url":"https://evil.example/x"}`))
			return ""
		}, "host"},
		{"always gone", func(t *testing.T, k *mediaKit) string {
			k.serve(t, []byte("content"))
			k.server.answer(t, "GET bytes", 404, nil)
			return ""
		}, "HTTP 404"},
		{"redirect", func(t *testing.T, k *mediaKit) string {
			k.serve(t, []byte("content"))
			k.server.answer(t, "GET bytes", 302, nil, "Location", "https://evil.example/x")
			return ""
		}, "HTTP 302"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newMediaKit(t)
			announced := test.set(t, k)
			got := k.attached(t, codec.InboundMedia{Kind: "image", ID: "77", SHA256: announced})
			if !strings.Contains(got.Error, test.reason) || got.Object != "" {
				t.Errorf("got %+v", got)
			}
			if strings.Contains(got.Error, "prose") || strings.Contains(got.Error, "://") {
				t.Errorf("the error tells too much: %s", got.Error)
			}
			if left := k.objects.files(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("an id that is a path", func(t *testing.T) {
		k := newMediaKit(t)
		if got := k.attached(t, codec.InboundMedia{ID: "../debug_token"}); !strings.Contains(got.Error, "media id") {
			t.Errorf("got %+v", got)
		}
	})
}

// An address that is gone is resolved again.
func TestFetchResolvesAgain(t *testing.T) {
	k := newMediaKit(t)
	sum := k.serve(t, []byte("content"))
	k.server.on("GET bytes", func(w http.ResponseWriter, _ *http.Request) {
		if k.server.count("GET bytes") == 1 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, "content")
	})
	if got := k.attached(t, codec.InboundMedia{ID: "77"}); got.Object != sum {
		t.Errorf("got %+v", got)
	}
	if n := k.server.count("GET 77"); n != 2 {
		t.Errorf("resolved %d times", n)
	}
}

// Trouble of the store is not the file's: it is waited out.
func TestFetchWaitsForTheStore(t *testing.T) {
	k := newMediaKit(t)
	sum := k.serve(t, []byte("content"))
	fails := 1
	k.objects.fails = func() error {
		if fails--; fails >= 0 {
			return errBroken
		}
		return nil
	}
	if got := k.attached(t, codec.InboundMedia{ID: "77"}); got.Object != sum {
		t.Errorf("got %+v", got)
	}
}

// A file passes through in pieces: what is allocated for it is a fraction of it.
func TestFetchStreams(t *testing.T) {
	const size = 64 << 20
	k := newMediaKit(t)
	k.server.on("GET 77", k.locate(t, size, ""))
	piece := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	k.server.on("GET bytes", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := k.attached(t, codec.InboundMedia{ID: "77"})
	runtime.ReadMemStats(&after)
	if got.Size != size {
		t.Fatalf("got %+v", got)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > size/8 {
		t.Errorf("%d bytes were allocated for a file of %d", used, size)
	}
}

func TestTrustedHosts(t *testing.T) {
	prod, err := NewGraph(GraphConfig{})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := NewGraph(GraphConfig{URL: "http://127.0.0.1:8080"})
	if err != nil {
		t.Fatal(err)
	}
	container, err := NewGraph(GraphConfig{URL: "http://wasim:8080", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		graph *Graph
		url   string
		want  bool
	}{
		{prod, "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1", true},
		{prod, "https://mmg.whatsapp.net/x", true},
		{prod, "https://scontent.facebook.com/x", true},
		{prod, "https://graph.facebook.com/v26.0/1", true},
		{prod, "https://LOOKASIDE.FBSBX.COM/x", true},
		{prod, "https://lookaside.fbsbx.com:443/x", true},
		{prod, "http://lookaside.fbsbx.com/x", false},
		{prod, "https://lookaside.fbsbx.com:8443/x", false},
		{prod, "https://fbsbx.com.evil.example/x", false},
		{prod, "https://evilfbsbx.com/x", false},
		{prod, "https://a@lookaside.fbsbx.com/x", false},
		{prod, "https://evil.example/?lookaside.fbsbx.com", false},
		{prod, "https://127.0.0.1/x", false},
		{prod, "file:///etc/passwd", false},
		{dev, "http://127.0.0.1:9999/x", true},
		{dev, "http://localhost/x", true},
		{dev, "http://192.168.0.1/x", false},
		{container, "http://wasim:8080/x", true},
		{container, "http://wasim:81/x", false},
		{container, "http://127.0.0.1/x", false},
	}
	for _, test := range tests {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := test.graph.trusts(u); got != test.want {
			t.Errorf("%s: %t", test.url, got)
		}
	}
}

// A media message waits for its file, and nothing else waits for it. A retry of
// Meta's finds the file.
func TestMediaDelaysItsOwnMessageOnly(t *testing.T) {
	k := newMediaKit(t)
	sum := k.serve(t, []byte("content"))
	gate := make(chan struct{})
	k.server.on("GET bytes", func(w http.ResponseWriter, _ *http.Request) {
		<-gate
		fmt.Fprint(w, "content")
	})
	h := startHooks(t, func(c *WebhooksConfig) { c.StoreTimeout = 500 * time.Millisecond })
	h.add(t, Route{Session: "shop", PhoneNumberID: testPhone, AppSecret: testSecret, Receiver: h.shop, Media: k.Media})
	body := fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":%q},"messages":[`+
		`{"from":"1","id":"wamid.pic","type":"image","image":{"id":"77","mime_type":"image/jpeg","sha256":%q}},`+
		`{"from":"2","id":"wamid.text","type":"text","text":{"body":"x"}}]}}]}]}`, testPhone, sum)
	if s := h.post(t, body); s != 503 {
		t.Errorf("status %d before the file was there", s)
	}
	if in := next(t, h.shop); !strings.Contains(string(in.Data), "wamid.text") {
		t.Errorf("first came %s", in.Data)
	}
	close(gate)
	if in := next(t, h.shop); !strings.Contains(string(in.Data), `"media":{"object":"`+sum) {
		t.Errorf("then came %s", in.Data)
	}
	eventually(t, "a retry is stored", func() bool { return h.post(t, body) == 200 })
	if n := k.server.count("GET bytes"); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestHexHash(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	want := hex.EncodeToString(sum[:])
	for _, in := range []string{want, strings.ToUpper(want), base64.StdEncoding.EncodeToString(sum[:]), base64.URLEncoding.EncodeToString(sum[:])} {
		if got := hexHash(in); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
	for _, in := range []string{"", want[:63], strings.Repeat("z", 64), strings.Repeat("!", 44)} {
		if got := hexHash(in); got != "" {
			t.Errorf("%s: %q", in, got)
		}
	}
}

// mediaHooks are webhooks whose session fetches media.
func mediaHooks(t testing.TB, k *mediaKit) *hooks {
	t.Helper()
	h := startHooks(t, func(c *WebhooksConfig) { c.StoreTimeout = 500 * time.Millisecond })
	h.add(t, Route{Session: "shop", PhoneNumberID: testPhone, AppSecret: testSecret, Receiver: h.shop, Media: k.Media})
	return h
}

// picture is a webhook with one image, media 77.
func picture(sum string) []byte {
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":`+
		`{"phone_number_id":%q},"messages":[{"from":"1","id":"wamid.pic","type":"image","image":{"id":"77","sha256":%q}}]}}]}]}`, testPhone, sum)
}

// A message that comes twice at once is fetched once.
func TestFetchIsShared(t *testing.T) {
	k := newMediaKit(t)
	sum := k.serve(t, []byte("content"))
	entered, gate := make(chan struct{}, 9), make(chan struct{})
	k.server.on("GET bytes", func(w http.ResponseWriter, _ *http.Request) {
		entered <- struct{}{}
		<-gate
		fmt.Fprint(w, "content")
	})
	h := mediaHooks(t, k)
	for range 2 {
		if s := h.post(t, picture(sum)); s != 503 {
			t.Errorf("status %d", s)
		}
	}
	<-entered
	close(gate)
	for range 2 {
		if in := next(t, h.shop); !strings.Contains(string(in.Data), `"object"`) {
			t.Errorf("%s", in.Data)
		}
	}
	if n := k.server.count("GET bytes"); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

// Closing ends a fetch and stores nothing: Meta sends the message again, and
// what is stored first is what stays.
func TestCloseEndsFetches(t *testing.T) {
	k := newMediaKit(t)
	sum := k.serve(t, []byte("content"))
	gate := make(chan struct{})
	defer close(gate)
	k.server.on("GET bytes", func(http.ResponseWriter, *http.Request) { <-gate })
	h := mediaHooks(t, k)
	if s := h.post(t, picture(sum)); s != 503 {
		t.Errorf("status %d", s)
	}
	h.Close()
	h.nothing(t)
}

func TestTooManyFetches(t *testing.T) {
	k := newMediaKit(t)
	h := mediaHooks(t, k)
	if !h.fetches.TryAcquire(maxFetches) {
		t.Fatal("fetches are under way")
	}
	if s := h.post(t, picture("")); s != 503 {
		t.Errorf("status %d", s)
	}
	h.nothing(t)
	if s := h.post(t, message(testPhone, "wamid.1", `"x"`)); s != 200 {
		t.Errorf("a text: status %d", s)
	}
}
