package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// chunksAhead is how many chunks, of 128 KiB, are on their way at once. The
	// client's own reader lets the server push 32 MB to one who reads slowly.
	chunksAhead = 8
	// chunkWait is how long the next one may take.
	chunkWait = 30 * time.Second
)

// Open reads an object; the reader's last error says whether the content is
// what its digest promises. bridge.ErrNotFound where there is none. Reading
// blocks until JetStream answers or ctx ends.
func (m *Media) Open(ctx context.Context, name string) (io.ReadCloser, MediaInfo, error) {
	found, err := m.store.GetInfo(ctx, name)
	if err == nil && found.Opts != nil && found.Opts.Link != nil {
		name = found.Opts.Link.Name
		if found.Opts.Link.Bucket != m.bucket || name == "" {
			return nil, MediaInfo{}, errors.New("opening a media object: it is a link to another bucket")
		}
		found, err = m.store.GetInfo(ctx, name)
	}
	if err != nil {
		return nil, MediaInfo{}, mediaFault("opening", err)
	}
	info, err := mediaInfo(found)
	if err != nil {
		return nil, MediaInfo{}, err
	}
	r, err := m.read(ctx, found)
	if err != nil {
		return nil, MediaInfo{}, mediaFault("opening", err)
	}
	return r, info, nil
}

// read begins to read an object's chunks.
func (m *Media) read(ctx context.Context, found *jetstream.ObjectInfo) (*object, error) {
	want, err := digest(found)
	if err != nil {
		return nil, err
	}
	r := &object{left: found.Chunks, sum: sha256.New(), want: want}
	if r.left == 0 {
		return r, nil
	}
	consumer, err := m.js.OrderedConsumer(ctx, "OBJ_"+m.bucket, jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{"$O." + m.bucket + ".C." + found.NUID},
		InactiveThreshold: chunkWait,
	})
	if err != nil {
		return nil, err
	}
	if r.chunks, err = consumer.Messages(jetstream.PullMaxMessages(chunksAhead)); err != nil {
		return nil, err
	}
	r.ended, r.detach = ctx.Err, context.AfterFunc(ctx, r.chunks.Stop)
	return r, nil
}

// object reads the chunks of one object.
type object struct {
	chunks jetstream.MessagesContext // nil: there are none
	ended  func() error
	detach func() bool
	left   uint32 // chunks to come
	chunk  []byte // what is left of the last one
	sum    hash.Hash
	want   []byte
}

var errDigest = errors.New("reading a media object: its content is not what its digest promises")

// Read implements io.Reader.
func (r *object) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.left == 0 {
			if !bytes.Equal(r.sum.Sum(nil), r.want) {
				return 0, errDigest
			}
			return 0, io.EOF
		}
		if err := r.ended(); err != nil {
			return 0, fmt.Errorf("reading a media object: %w", err)
		}
		m, err := r.chunks.Next(jetstream.NextMaxWait(chunkWait))
		if err != nil {
			return 0, fmt.Errorf("reading a media object: %w", err)
		}
		r.chunk = m.Data()
		r.sum.Write(r.chunk)
		r.left--
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *object) Close() error {
	if r.chunks != nil && r.detach() {
		r.chunks.Stop()
	}
	return nil
}
