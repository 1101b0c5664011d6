package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
)

func TestMediaIsNamedByItsContent(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	media, err := b.Media(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:])
	if _, err := media.Stat(t.Context(), name); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("Stat before Put: %v", err)
	}
	if _, _, err := media.Open(t.Context(), name); !errors.Is(err, bridge.ErrNotFound) {
		t.Errorf("Open before Put: %v", err)
	}
	for range 2 {
		info, err := media.Put(t.Context(), bytes.NewReader(content), map[string][]string{"Content-Type": {"image/png"}})
		if err != nil {
			t.Fatal(err)
		}
		if info.Name != name || info.SHA256 != name || info.Size != uint64(len(content)) {
			t.Errorf("Put = %+v", info)
		}
	}
	r, info, err := media.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if info.Size != uint64(len(content)) || info.SHA256 != name || info.Header["Content-Type"][0] != "image/png" || info.Stored.IsZero() {
		t.Errorf("Open = %+v", info)
	}
	if stat, err := media.Stat(t.Context(), name); err != nil || !reflect.DeepEqual(stat, info) {
		t.Errorf("Stat = %+v, %v; want %+v", stat, err, info)
	}
	// The second was not kept besides the first.
	store, err := s.JetStream(t).ObjectStore(t.Context(), "wa_media")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := store.List(t.Context())
	if err != nil || len(objects) != 1 || objects[0].Name != name {
		t.Errorf("objects = %v, %v", objects, err)
	}
}

// Links, files without content, readers that are given up and content that is
// not what was promised.
func TestMediaReading(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	media, err := b.Media(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	js := s.JetStream(t)
	store, err := js.ObjectStore(t.Context(), "wa_media")
	if err != nil {
		t.Fatal(err)
	}
	read := func(ctx context.Context, name string) ([]byte, error) {
		r, _, err := media.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		got, err := io.ReadAll(r)
		return got, errors.Join(err, r.Close())
	}
	content := bytes.Repeat([]byte("0123456789"), 300_000)
	for name, data := range map[string][]byte{"large": content, "empty": nil} {
		if _, err := store.PutBytes(t.Context(), name, data); err != nil {
			t.Fatal(err)
		}
		if got, err := read(t.Context(), name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: read %d bytes, want %d: %v", name, len(got), len(data), err)
		}
	}
	info, err := store.GetInfo(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddLink(t.Context(), "link", info); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context(), "link"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("link: read %d bytes: %v", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := media.Open(ctx, "large")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(r); err == nil {
		t.Error("reading goes on after its context has ended")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	// The store says another digest than that of the content.
	info.Digest = "SHA-256=" + base64.URLEncoding.EncodeToString(make([]byte, 32))
	meta, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "$O.wa_media.M."+base64.URLEncoding.EncodeToString([]byte("large")), meta); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), "large"); !errors.Is(err, errDigest) {
		t.Errorf("another digest: %v", err)
	}
}

func TestMediaPassesOnWhatItsReaderSays(t *testing.T) {
	b := open(t, bridgetest.NATS(t))
	media, err := b.Media(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("cut")
	_, err = media.Put(t.Context(), io.MultiReader(bytes.NewReader(make([]byte, 300_000)), errReader{broken}), nil)
	if !errors.Is(err, broken) {
		t.Errorf("Put of a reader that fails: %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
