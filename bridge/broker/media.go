package broker

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"wabridge/bridge"
)

// mediaFresh is how old an object may be and still stand for a new one with
// the same content: older ones would expire too soon.
const mediaFresh = MediaAge / 7

// Media is the Object Store of media. Objects are named by the SHA-256 of
// their content, in hex.
type Media struct {
	js     jetstream.JetStream
	bucket string
	store  jetstream.ObjectStore
}

// MediaInfo describes an object.
type MediaInfo struct {
	Name   string
	Size   uint64
	SHA256 string // hex; what the store computed
	Header map[string][]string
	Stored time.Time
}

// Media opens the media store; Ensure has made sure that it is there.
func (b *Broker) Media(ctx context.Context) (*Media, error) {
	bucket := b.names.Bucket(MediaBucket)
	var store jetstream.ObjectStore
	err := b.open(ctx, bucket, func(ctx context.Context) (err error) {
		store, err = b.js.ObjectStore(ctx, bucket)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening object store %s: %w", bucket, err)
	}
	return &Media{js: b.js, bucket: bucket, store: store}, nil
}

// Put stores what r gives, chunk by chunk, and names it by its content: what
// is there already is not stored twice. Headers are kept with the object, for
// its type and file name.
func (m *Media) Put(ctx context.Context, r io.Reader, header map[string][]string) (MediaInfo, error) {
	// The name is known at the end only: until then it is one that nobody knows.
	temporary := "incoming-" + nuid.Next()
	put, err := m.store.Put(ctx, jetstream.ObjectMeta{Name: temporary, Headers: nats.Header(header)}, r)
	if err != nil {
		return MediaInfo{}, fmt.Errorf("storing a media object: %w", err)
	}
	info, err := mediaInfo(put)
	if err != nil {
		return MediaInfo{}, err
	}
	info.Name = info.SHA256
	if err := m.publish(ctx, temporary, put.ObjectMeta, info.Name); err != nil {
		return MediaInfo{}, fmt.Errorf("naming a media object: %w", err)
	}
	return info, nil
}

// publish gives an object its name, in place of an old one.
func (m *Media) publish(ctx context.Context, temporary string, meta jetstream.ObjectMeta, name string) error {
	old, err := m.store.GetInfo(ctx, name)
	switch {
	case err == nil && time.Since(old.ModTime) < mediaFresh:
		return m.store.Delete(ctx, temporary)
	case err == nil:
		if err := m.store.Delete(ctx, name); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
			return err
		}
	case !errors.Is(err, jetstream.ErrObjectNotFound):
		return err
	}
	meta.Name = name
	err = m.store.UpdateMeta(ctx, temporary, meta)
	if errors.Is(err, jetstream.ErrObjectAlreadyExists) {
		// Someone else stored the same a moment ago.
		return m.store.Delete(ctx, temporary)
	}
	return err
}

// Stat describes an object; bridge.ErrNotFound where there is none.
func (m *Media) Stat(ctx context.Context, name string) (MediaInfo, error) {
	found, err := m.store.GetInfo(ctx, name)
	if err != nil {
		return MediaInfo{}, mediaFault("looking for", err)
	}
	return mediaInfo(found)
}

func mediaInfo(o *jetstream.ObjectInfo) (MediaInfo, error) {
	sum, err := digest(o)
	if err != nil {
		return MediaInfo{}, err
	}
	return MediaInfo{
		Name: o.Name, Size: o.Size, SHA256: hex.EncodeToString(sum), Header: o.Headers, Stored: o.ModTime,
	}, nil
}

// digest is the SHA-256 that the store computed.
func digest(o *jetstream.ObjectInfo) ([]byte, error) {
	encoded, ok := strings.CutPrefix(o.Digest, "SHA-256=")
	sum, err := base64.URLEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return nil, fmt.Errorf("media object %s has no SHA-256 digest", o.Name)
	}
	return sum, nil
}

func mediaFault(doing string, err error) error {
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		err = bridge.ErrNotFound
	}
	return fmt.Errorf("%s a media object: %w", doing, err)
}
