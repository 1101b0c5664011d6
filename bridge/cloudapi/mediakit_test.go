package cloudapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
)

// folder is an object store of files.
type folder struct {
	dir   string
	fails func() error // before a Put; nil for none
}

func (f *folder) Put(_ context.Context, r io.Reader) (Object, error) {
	if f.fails != nil {
		if err := f.fails(); err != nil {
			return Object{}, err
		}
	}
	file, err := os.CreateTemp(f.dir, "incoming")
	if err != nil {
		return Object{}, err
	}
	defer file.Close() //nolint:errcheck // a test's
	sum := sha256.New()
	size, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(file, sum)}, struct{ io.Reader }{r}, make([]byte, 128<<10))
	if err != nil {
		return Object{}, errors.Join(err, os.Remove(file.Name()))
	}
	name := hex.EncodeToString(sum.Sum(nil))
	return Object{Name: name, Size: size, SHA256: name}, os.Rename(file.Name(), filepath.Join(f.dir, name))
}

func (f *folder) Stat(ctx context.Context, name string) (Object, error) {
	r, err := f.Open(ctx, name)
	if err != nil {
		return Object{}, err
	}
	defer r.Close() //nolint:errcheck // a test's
	sum := sha256.New()
	size, err := io.Copy(sum, r)
	return Object{Name: name, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

func (f *folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	file, err := os.Open(filepath.Join(f.dir, filepath.Base(name)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, bridge.ErrNotFound
	}
	return file, err
}

// files lists what is stored.
func (f *folder) files(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// uploads is a bucket in memory.
type uploads struct {
	mu     sync.Mutex
	values map[string][]byte
	broken bool
}

var errBroken = errors.New("broken on purpose")

func (u *uploads) Get(_ context.Context, key string) (bridge.Entry, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken {
		return bridge.Entry{}, errBroken
	}
	value, ok := u.values[key]
	if !ok {
		return bridge.Entry{}, bridge.ErrNotFound
	}
	return bridge.Entry{Key: key, Value: value}, nil
}

func (u *uploads) Put(_ context.Context, key string, value []byte) (uint64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.broken {
		return 0, errBroken
	}
	u.values[key] = value
	return 1, nil
}

func (u *uploads) Delete(_ context.Context, key string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.values, key)
	return nil
}

// mediaKit is a Media with a real Graph server and a real folder.
type mediaKit struct {
	*Media
	server  *graphServer
	objects *folder
	uploads *uploads
}

func newMediaKit(t testing.TB) *mediaKit {
	t.Helper()
	k := &mediaKit{server: newGraphServer(t), objects: &folder{dir: t.TempDir()}, uploads: &uploads{values: map[string][]byte{}}}
	var err error
	k.Media, err = NewMedia(MediaConfig{
		Graph: k.server.client(t), PhoneNumberID: testPhone, Objects: k.objects, Uploads: k.uploads,
		LoopbackLinks: true, Logger: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	k.wait = time.Millisecond
	t.Cleanup(k.Close)
	return k
}

// serve offers content as media 77 and returns its SHA-256.
func (k *mediaKit) serve(t testing.TB, content []byte) string {
	t.Helper()
	sum := sha256.Sum256(content)
	k.server.on("GET 77", k.locate(t, len(content), hex.EncodeToString(sum[:])))
	k.server.answer(t, "GET bytes", 200, content)
	return hex.EncodeToString(sum[:])
}

// locate answers where media 77 is.
func (k *mediaKit) locate(t testing.TB, size int, sum string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("phone_number_id") != testPhone {
			t.Errorf("query %q", r.URL.RawQuery)
		}
		fmt.Fprintf(w, `{"url":"%s/file/bytes?hash=x","sha256":%q,"file_size":"%d"}`, k.server.URL, sum, size)
	}
}
