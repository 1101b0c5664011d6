package cloudapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

	"wabridge/bridge"
	"wabridge/codec"
)

// maxMedia is the largest file that WhatsApp carries, in bytes.
const maxMedia = 100 << 20

// Object describes a file in an object store.
type Object struct {
	Name   string
	Size   int64  // bytes
	SHA256 string // lower-case hex
	// Stored is when it was put there; zero where that is not known.
	Stored time.Time
}

// Objects is an object store. Its methods block until the store answers or ctx
// ends.
type Objects interface {
	// Put streams r into the store and names it by its SHA-256 in hex. Where the
	// name is there already, its age begins anew. An error of r is returned as it
	// is, wrapped or not, and leaves nothing behind.
	Put(ctx context.Context, r io.Reader) (Object, error)
	// Stat describes an object; bridge.ErrNotFound where there is none.
	Stat(ctx context.Context, name string) (Object, error)
	// Open reads an object; bridge.ErrNotFound where there is none.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
}

// Uploads is the bucket that remembers which files Meta has: a part of
// bridge.KV.
type Uploads interface {
	Get(ctx context.Context, key string) (bridge.Entry, error)
	Put(ctx context.Context, key string, value []byte) (uint64, error)
	Delete(ctx context.Context, key string) error
}

// MediaConfig says how files move.
type MediaConfig struct {
	Graph         *Graph
	PhoneNumberID string
	Objects       Objects
	// Uploads should drop its keys after 29 days; Meta keeps a file for 30.
	Uploads Uploads
	// Parallel bounds the downloads at a time; 0 is 8.
	Parallel int
	// LoopbackLinks allows commands to name links to this machine, plain HTTP
	// included, for development.
	LoopbackLinks bool
	// Logger is slog.Default where nil.
	Logger *slog.Logger
}

// Media moves files between Graph and an object store, streaming: no file is
// ever whole in memory. It is safe for concurrent use, and runs a goroutine
// only while it moves something.
type Media struct {
	graph   *Graph
	phoneID string
	objects Objects
	uploads Uploads
	slots   chan struct{}
	links   *linkFetcher
	wait    time.Duration // before the second try of a download; it doubles
	sharing singleflight.Group
	log     *slog.Logger
}

// NewMedia returns a Media, or every fault of c.
func NewMedia(c MediaConfig) (*Media, error) {
	var faults []error
	if c.Graph == nil || c.Graph.token == nil {
		faults = append(faults, errors.New("no Graph client with a token"))
	}
	if !validID(c.PhoneNumberID) {
		faults = append(faults, errors.New("phone number id: want Meta's id of the number, not the number"))
	}
	if c.Objects == nil {
		faults = append(faults, errors.New("no object store"))
	}
	if c.Uploads == nil {
		faults = append(faults, errors.New("no bucket for uploads"))
	}
	if c.Parallel < 0 {
		faults = append(faults, errors.New("parallel downloads: negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	return &Media{
		graph:   c.Graph,
		phoneID: c.PhoneNumberID,
		objects: c.Objects,
		uploads: c.Uploads,
		slots:   make(chan struct{}, cmp.Or(c.Parallel, 8)),
		links:   newLinkFetcher(c.LoopbackLinks),
		wait:    fetchPause,
		log:     cmp.Or(c.Logger, slog.Default()),
	}, nil
}

// Close drops idle connections. The Media stays usable.
func (m *Media) Close() {
	m.links.http.CloseIdleConnections()
	m.graph.Close()
}

// mediaError is a file that did not make it. Its text holds no address.
type mediaError struct {
	class codec.Class
	tries int
	err   error
}

func (e *mediaError) Error() string { return "media: " + e.err.Error() }
func (e *mediaError) Unwrap() error { return e.err }

// errTooBig is a file over maxMedia.
var errTooBig = errors.New("larger than the 100 MB that WhatsApp carries")

// hexHash gives a SHA-256 in hex: Meta writes base64 in some places and hex in
// others. It is "" where s is neither.
func hexHash(s string) string {
	switch len(s) {
	case 64:
		if raw, err := hex.DecodeString(s); err == nil {
			return hex.EncodeToString(raw)
		}
	case 44:
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			if raw, err := encoding.DecodeString(s); err == nil {
				return hex.EncodeToString(raw)
			}
		}
	}
	return ""
}

// bounded reads at most maxMedia bytes, then fails with errTooBig.
type bounded struct {
	r    io.Reader
	left int64
}

func newBounded(r io.Reader) *bounded { return &bounded{r: r, left: maxMedia} }

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooBig
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n, errTooBig
	}
	return n, err
}

// pause waits for d; false where ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// statusError is a file server's answer that is not the file.
type statusError struct{ status int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered HTTP %d", e.status)
}

// worthRetry reports whether the same request may succeed soon.
func (e *statusError) worthRetry() bool {
	return e.status >= http.StatusInternalServerError || e.status == http.StatusTooManyRequests ||
		e.status == http.StatusRequestTimeout
}
