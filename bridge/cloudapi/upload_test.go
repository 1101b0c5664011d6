package cloudapi

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

const jpeg = "\xff\xd8\xff\xe0 and so on"

// command makes what outbound would send of a command's body.
func command(t testing.TB, body string) *bridge.Outgoing {
	t.Helper()
	c, err := codec.DecodeCommand(nil, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return &bridge.Outgoing{
		Ref: "r", Type: c.Type, Conversation: c.Conversation, Media: c.Media,
		Body: c.AppendBody(nil, "wab1;;1;r;"),
	}
}

// takeUploads has the server take uploads, numbered from 1000.
func (k *mediaKit) takeUploads(t testing.TB) *[]uploadSeen {
	t.Helper()
	seen := new([]uploadSeen)
	var mu sync.Mutex
	k.server.on("POST media", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		one := uploadSeen{path: r.URL.Path, length: r.ContentLength, token: r.Header.Get("Authorization")}
		_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil {
			t.Error(err)
		}
		parts := multipart.NewReader(r.Body, params["boundary"])
		for {
			part, err := parts.NextPart()
			if err != nil {
				break
			}
			content, err := io.ReadAll(part)
			if err != nil {
				t.Error(err)
			}
			switch part.FormName() {
			case "messaging_product":
				one.product = string(content)
			case "type":
				one.mime = string(content)
			case "file":
				one.content, one.partMIME, one.filename = string(content), part.Header.Get("Content-Type"), part.FileName()
			}
		}
		*seen = append(*seen, one)
		fmt.Fprintf(w, `{"id":"%d"}`, 999+len(*seen))
	})
	return seen
}

type uploadSeen struct {
	path, token, product, mime, partMIME, filename, content string
	length                                                  int64
}

func (k *mediaKit) start(t testing.TB) *started {
	t.Helper()
	s := start(t, k.graph, func(c *Config) { c.Media = k.Media })
	s.host.state(t, bridge.Connected)
	return s
}

func TestUploadObject(t *testing.T) {
	k := newMediaKit(t)
	object, err := k.objects.Put(t.Context(), strings.NewReader(jpeg))
	if err != nil {
		t.Fatal(err)
	}
	seen := k.takeUploads(t)
	s := k.start(t)
	body := fmt.Sprintf(`{"to":"+15550142233","type":"image","image":{"caption":"a \u00e9 b","object":%q}}`, object.Name)
	for range 3 {
		if got := s.give(t, command(t, body)); got.Class != codec.Accepted {
			t.Fatalf("got %+v", got)
		}
		sent := string(k.server.message(t).body)
		if !strings.Contains(sent, `"image":{"caption":"a \u00e9 b","id":"1000"}`) || !strings.Contains(sent, "wab1;") {
			t.Errorf("sent %s", sent)
		}
	}
	if len(*seen) != 1 {
		t.Fatalf("%d uploads", len(*seen))
	}
	one := (*seen)[0]
	if one.path != "/v26.0/"+testPhone+"/media" || one.token != "Bearer "+testToken || one.product != "whatsapp" ||
		one.mime != "image/jpeg" || one.partMIME != "image/jpeg" || one.content != jpeg || one.length <= int64(len(jpeg)) {
		t.Errorf("upload %+v", one)
	}
}

func TestUploadIsForgottenWhenMetaHas(t *testing.T) {
	k := newMediaKit(t)
	object, err := k.objects.Put(t.Context(), strings.NewReader(jpeg))
	if err != nil {
		t.Fatal(err)
	}
	seen := k.takeUploads(t)
	s := k.start(t)
	body := fmt.Sprintf(`{"to":"+15550142233","type":"image","image":{"object":%q}}`, object.Name)
	s.give(t, command(t, body))
	k.server.on("POST messages", func(w http.ResponseWriter, r *http.Request) {
		in, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(in), `"1000"`) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"code":100,"error_subcode":33,"message":"gone"}}`)
			return
		}
		fmt.Fprint(w, `{"messages":[{"id":"wamid.x"}]}`)
	})
	if got := s.give(t, command(t, body)); got.Class != codec.Accepted {
		t.Errorf("got %+v", got)
	}
	if len(*seen) != 2 {
		t.Errorf("%d uploads", len(*seen))
	}
}

func TestUploadCacheAgesAndFails(t *testing.T) {
	k := newMediaKit(t)
	key := "k"
	for value, want := range map[string]string{
		fmt.Sprintf(`{"id":"5","at":%d}`, time.Now().Unix()):                      "5",
		fmt.Sprintf(`{"id":"5","at":%d}`, time.Now().Add(-uploadKept-1).Unix()-1): "",
		`{"id":"../x","at":9999999999}`:                                           "",
		`junk`:                                                                    "",
	} {
		k.uploads.values[key] = []byte(value)
		if got := k.lookUp(t.Context(), key); got != want {
			t.Errorf("%s: %q", value, got)
		}
	}
	// A bucket that is away costs an upload and no message.
	k.uploads.broken = true
	object, err := k.objects.Put(t.Context(), strings.NewReader(jpeg))
	if err != nil {
		t.Fatal(err)
	}
	k.takeUploads(t)
	s := k.start(t)
	if got := s.give(t, command(t, fmt.Sprintf(`{"to":"+15550142233","type":"image","image":{"object":%q}}`, object.Name))); got.Class != codec.Accepted {
		t.Errorf("got %+v", got)
	}
}

func TestUploadFailures(t *testing.T) {
	tests := []struct {
		name string
		body string // %q is the object
		set  func(*mediaKit)
		want codec.Class
	}{
		{"no such object", `{"to":"+15550142233","type":"image","image":{"object":"missing"}}`, func(*mediaKit) {}, codec.Permanent},
		{"not an image", `{"to":"+15550142233","type":"video","video":{"object":%q}}`, func(*mediaKit) {}, codec.Permanent},
		{"refused", `{"to":"+15550142233","type":"image","image":{"object":%q}}`, func(k *mediaKit) {
			k.server.on("POST media", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":{"code":100,"message":"x"}}`)
			})
		}, codec.Permanent},
		{"cut", `{"to":"+15550142233","type":"image","image":{"object":%q}}`, func(k *mediaKit) {
			k.server.on("POST media", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, codec.Transient},
		{"bare 502", `{"to":"+15550142233","type":"image","image":{"object":%q}}`, func(k *mediaKit) {
			k.server.on("POST media", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		}, codec.Transient},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newMediaKit(t)
			object, err := k.objects.Put(t.Context(), strings.NewReader(jpeg))
			if err != nil {
				t.Fatal(err)
			}
			test.set(k)
			s := k.start(t)
			body := test.body
			if strings.Contains(body, "%q") {
				body = fmt.Sprintf(body, object.Name)
			}
			if got := s.give(t, command(t, body)); got.Class != test.want || got.Reason == "" {
				t.Errorf("got %+v", got)
			}
			if n := k.server.count("POST messages"); n != 0 {
				t.Errorf("%d messages were sent", n)
			}
		})
	}
}

// A refused upload is a refused token like any other.
func TestUploadUnauthorized(t *testing.T) {
	k := newMediaKit(t)
	object, err := k.objects.Put(t.Context(), strings.NewReader(jpeg))
	if err != nil {
		t.Fatal(err)
	}
	k.server.answer(t, "POST media", 401, corpus(t, "error/e190_expired_463.json"))
	s := k.start(t)
	if got := s.give(t, command(t, fmt.Sprintf(`{"to":"+15550142233","type":"image","image":{"object":%q}}`, object.Name))); got.Class != codec.Unauthorized {
		t.Errorf("got %+v", got)
	}
	s.host.state(t, bridge.Unauthorized)
}

func TestMediaOffLeavesBodiesAlone(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	out := command(t, `{"to":"+15550142233","type":"image","image":{"link":"https://cdn.example/a.jpg"}}`)
	if got := s.give(t, out); got.Class != codec.Accepted {
		t.Fatalf("got %+v", got)
	}
	if got := server.message(t).body; !bytes.Equal(got, out.Body) {
		t.Errorf("sent %s", got)
	}
	out = command(t, `{"to":"+15550142233","type":"image","image":{"object":"abc"}}`)
	if got := s.give(t, out); got.Class != codec.Invalid {
		t.Errorf("an object without media: %+v", got)
	}
}

// Several files of one command, links among them, each go up once.
func TestUploadLinks(t *testing.T) {
	k := newMediaKit(t)
	seen := k.takeUploads(t)
	var hits int
	var mu sync.Mutex
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		hits++
		if r.Header.Get("Authorization") != "" {
			t.Error("the token went to a stranger")
		}
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/a.jpg", http.StatusFound)
			return
		}
		fmt.Fprint(w, jpeg)
	}))
	defer files.Close()
	s := k.start(t)
	link := files.URL + "/moved"
	for range 2 {
		if got := s.give(t, command(t, fmt.Sprintf(`{"to":"+15550142233","type":"image","image":{"link":%q}}`, link))); got.Class != codec.Accepted {
			t.Fatalf("got %+v", got)
		}
		if sent := k.server.message(t).body; !strings.Contains(string(sent), `"image":{"id":"1000"}`) {
			t.Errorf("sent %s", sent)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(*seen) != 1 || hits != 2 {
		t.Errorf("%d uploads, %d requests of the link's server", len(*seen), hits)
	}
}

func TestUploadStreams(t *testing.T) {
	const size = 64 << 20
	k := newMediaKit(t)
	object, err := k.objects.Put(t.Context(), io.MultiReader(strings.NewReader("%PDF-1.7\n"), io.LimitReader(zeros{}, size)))
	if err != nil {
		t.Fatal(err)
	}
	var got int64
	k.server.on("POST media", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r.Body}, make([]byte, 64<<10))
		if err != nil {
			t.Error(err)
		}
		got = n
		fmt.Fprint(w, `{"id":"1"}`)
	})
	out := command(t, fmt.Sprintf(`{"to":"+15550142233","type":"document","document":{"object":%q,"filename":"a.pdf"}}`, object.Name))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body, _, err := k.replace(t.Context(), out)
	runtime.ReadMemStats(&after)
	if err != nil || !strings.Contains(string(body), `"id":"1"`) || got < size {
		t.Fatalf("%s: %v, %d bytes", body, err, got)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > size/8 {
		t.Errorf("%d bytes were allocated for a file of %d", used, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestMIME(t *testing.T) {
	tests := []struct{ kind, ext, start, want string }{
		{"image", "", jpeg, "image/jpeg"},
		{"image", ".png", jpeg, "image/jpeg"},
		{"image", ".jpg", "unknown\x00", "image/jpeg"},
		{"image", "", "%PDF-1.7", ""},
		{"sticker", "", "RIFF\x00\x00\x00\x00WEBPVP", "image/webp"},
		{"sticker", "", jpeg, ""},
		{"audio", "", "OggS\x00", "audio/ogg"},
		{"audio", "", "#!AMR\n", "audio/amr"},
		{"audio", "", "ID3\x03", "audio/mpeg"},
		{"audio", "", "\xff\xfb\x90", "audio/mpeg"},
		{"audio", "", "\xff\xf1\x50", "audio/aac"},
		{"audio", "", "\x00\x00\x00\x1cftypM4A ", "audio/mp4"},
		{"audio", "", "\x00\x00\x00\x1cftypisom", "audio/mp4"},
		{"video", "", "\x00\x00\x00\x1cftypisom", "video/mp4"},
		{"video", "", "\x00\x00\x00\x1cftyp3gp4", "video/3gpp"},
		{"document", ".docx", "PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"document", "", "%PDF-1.7", "application/pdf"},
		{"document", "", "hello", "text/plain"},
	}
	for _, test := range tests {
		if got := mimeOf(test.kind, test.ext, []byte(test.start)); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

func TestExtension(t *testing.T) {
	for body, want := range map[string]string{
		`{"to":"+1","type":"document","document":{"object":"x.xlsx"}}`:                                  ".xlsx",
		`{"to":"+1","type":"document","document":{"object":"abc","filename":"Report.PDF"}}`:             ".pdf",
		`{"to":"+1","type":"document","document":{"link":"https://x.example/a.docx?b=.exe"}}`:           ".docx",
		`{"to":"+1","type":"document","document":{"link":"https://x.example/a.exe","filename":"a.sh"}}`: "",
	} {
		out := command(t, strings.Replace(body, "+1", "+15550142233", 1))
		if got := extension(out, out.Media); got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func TestMediaConfigFaults(t *testing.T) {
	_, err := NewMedia(MediaConfig{PhoneNumberID: "/", Parallel: -1})
	for _, fault := range []string{"Graph", "phone number id", "object store", "bucket", "negative"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not in %v", fault, err)
		}
	}
	source, err := auth.NewStatic("x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewGraph(GraphConfig{Token: source, AppID: "a/b", Conns: -1}); err == nil {
		t.Error("taken")
	}
}
