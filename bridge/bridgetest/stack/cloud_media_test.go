package stack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/broker"
	"wabridge/bridge/simulator"
)

func withMedia(c *app.Config) { c.Media = true }

// picture is a file that nothing reads but by its bytes.
func picture(size int) []byte {
	return append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0xa5, 0, 0x5a}, size/3)...)
}

// attached is what the bridge adds to a message with a file.
type attached struct {
	Message json.RawMessage
	Media   *struct {
		Object, SHA256, Error string
		Size                  int64
	}
}

func attachedTo(t *testing.T, m natsMsg) attached {
	t.Helper()
	var a attached
	if err := json.Unmarshal(m.Data(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// A user's file is in the object store before the message says so; a file that
// cannot be had delays its own message only, and the message says why.
func TestCloudMediaIn(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI, App: withMedia})
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	file := picture(3 << 20)
	sum := sha256.Sum256(file)
	write := func(id string) {
		t.Helper()
		if _, err := s.Sim.Write("15550142233", fmt.Appendf(nil, `{"session":"demo","type":"image","image":{"id":"%s","caption":"look"}}`, id)); err != nil {
			t.Fatal(err)
		}
	}
	write(s.Sim.AddMedia("image/png", file))
	m := received.Next(t)
	got := attachedTo(t, m)
	if got.Media == nil || got.Media.SHA256 != hex.EncodeToString(sum[:]) || got.Media.Size != int64(len(file)) {
		t.Fatalf("stored %s", m.Data())
	}
	if !strings.Contains(string(got.Message), `"caption":"look"`) || !strings.HasPrefix(string(m.Data()), `{"message":{"from":"15550142233"`) {
		t.Errorf("the message itself has changed: %s", m.Data())
	}
	store, err := s.JS.ObjectStore(t.Context(), s.Names.Bucket(broker.MediaBucket))
	if err != nil {
		t.Fatal(err)
	}
	content, err := store.GetBytes(t.Context(), got.Media.Object)
	if err != nil || !bytes.Equal(content, file) {
		t.Errorf("the object holds %d bytes, want %d: %v", len(content), len(file), err)
	}

	write("660999999999999") // Graph knows no such file
	if got := attachedTo(t, received.Next(t)); got.Media == nil || got.Media.Error == "" || got.Media.Object != "" {
		t.Errorf("a file that is gone: %+v", got.Media)
	}
	// A slow file does not hold up what comes behind it.
	s.fault(t, simulator.Fault{Kind: simulator.FaultMedia, Delay: simulator.Duration(2e9), Count: 1})
	write(s.Sim.AddMedia("image/png", picture(1000)))
	if _, err := s.Sim.Write("15550142233", []byte(`{"session":"demo","text":"behind it"}`)); err != nil {
		t.Fatal(err)
	}
	if m := received.Next(t); !contains(m.Data(), "behind it") {
		t.Errorf("first came %s", m.Data())
	}
	if got := attachedTo(t, received.Next(t)); got.Media == nil || got.Media.Object == "" {
		t.Errorf("the slow file: %+v", got.Media)
	}
}

// An object and a link are uploaded once, and sent by id as often as asked for.
func TestCloudMediaOut(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI, App: withMedia})
	statuses := s.statuses(t)
	store, err := s.JS.ObjectStore(t.Context(), s.Names.Bucket(broker.MediaBucket))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.PutBytes(t.Context(), "photo", picture(100_000)); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(picture(50_000)) // the test looks at what arrived
	}))
	t.Cleanup(site.Close)
	image := func(member, value string) string {
		return `{"to":"+15550142233","type":"image","image":{"` + member + `":"` + value + `"}}`
	}
	for i := range 3 {
		s.Publish(t, Demo, fmt.Sprintf("object-%d", i), image("object", "photo"))
		s.Publish(t, Demo, fmt.Sprintf("link-%d", i), image("link", site.URL+"/a.png"))
	}
	_, of := statuses.outcomes(t, 6)
	allAccepted(t, of)
	var phone simulator.Phone
	bridgetest.Eventually(t, patience, func() bool {
		phone, _ = s.Sim.Phone("15550142233")
		return len(phone.Messages) == 6
	}, "not everything is delivered")
	ids := make(map[string]int)
	for _, m := range phone.Messages {
		var body struct{ Image map[string]string }
		if err := json.Unmarshal(m.Body, &body); err != nil {
			t.Fatal(err)
		}
		if len(body.Image) != 1 {
			t.Errorf("sent %s", m.Body)
		}
		ids[body.Image["id"]]++
	}
	if len(ids) != 2 || asked.Load() != 1 {
		t.Errorf("six messages name %v, and the link was fetched %d times; want two files, fetched once", ids, asked.Load())
	}
	s.Publish(t, Demo, "none", image("object", "no such object"))
	if got := statuses.until(t, "none", "rejected"); got.Error == nil || !strings.Contains(got.Error.Title+got.Error.Detail, "object") {
		t.Errorf("outcome %+v", got)
	}
}

// With media off ids stay with Meta, and an object is refused in words.
func TestCloudMediaOff(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI})
	statuses := s.statuses(t)
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	id := s.Sim.AddMedia("image/png", picture(1000))
	if _, err := s.Sim.Write("15550142233", fmt.Appendf(nil, `{"session":"demo","type":"image","image":{"id":"%s"}}`, id)); err != nil {
		t.Fatal(err)
	}
	if m := received.Next(t); attachedTo(t, m).Media != nil || !contains(m.Data(), id) {
		t.Errorf("stored %s", m.Data())
	}
	s.Publish(t, Demo, "object", `{"to":"+15550142233","type":"image","image":{"object":"photo"}}`)
	if got := statuses.until(t, "object", "rejected"); got.Error == nil || !strings.Contains(got.Error.Title, "media") {
		t.Errorf("outcome %+v", got)
	}
	s.Publish(t, Demo, "link", `{"to":"+15550142233","type":"image","image":{"link":"https://example.com/a.png"}}`)
	statuses.until(t, "link", "accepted")
}
