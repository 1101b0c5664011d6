package inbound

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"wabridge/bridge"
)

// large is the size from which on a body may be too large for the NATS server.
// Such a record is put alone: nothing follows until JetStream has answered, so
// that what stands in its place, if it is refused, keeps its place. A server's
// max_payload must be above this by the size of the headers; it is 1 MiB unless
// configured.
const large = 16 << 10

// putLarge puts f and waits for the answer. Where the body is refused as too
// large it goes to wa_media, and a record that names it is put in its place.
func (s *Session) putLarge(ctx context.Context, f *flight) error {
	st, err := s.putAndWait(ctx, f)
	if err != nil || st == nil {
		return err
	}
	if !errors.Is(st.Err, bridge.ErrTooLarge) {
		f.finish(*st, resultOf(*st))
		return nil
	}
	stub, err := s.spill(ctx, f)
	if err != nil {
		return fmt.Errorf("storing a large body as an object: %w", err)
	}
	return s.put(ctx, stub)
}

// putAndWait returns the store's answer to f, or nil where ctx ended before it:
// f is taken then, and ends by itself.
func (s *Session) putAndWait(ctx context.Context, f *flight) (*bridge.Stored, error) {
	waiter := make(chan bridge.Stored, 1)
	f.waiter = waiter
	if err := s.put(ctx, f); err != nil {
		return nil, err
	}
	select {
	case st := <-waiter:
		return &st, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	answered := f.waiter == nil
	f.waiter = nil
	s.mu.Unlock()
	if answered {
		st := <-waiter
		return &st, nil
	}
	return nil, nil //nolint:nilnil // nil says that there is no answer yet
}

// object is the body of a record whose own body is in wa_media.
type object struct {
	Object string `json:"object"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

// spill stores the body of f in wa_media and returns a flight in its place,
// with the same subject and headers, that names the object.
func (s *Session) spill(ctx context.Context, f *flight) (*flight, error) {
	body := f.record.Body
	o := object{Size: len(body), SHA256: sha256Hex(body)}
	var err error
	if o.Object, err = s.env.Spill.Put(ctx, s.id+"/"+o.SHA256, bytes.NewReader(body)); err != nil {
		return nil, err
	}
	stub := &flight{session: s, in: f.in, stream: f.stream, span: f.span}
	stub.record = bridge.Record{Subject: f.record.Subject, Header: maps.Clone(f.record.Header), Done: stub.done}
	stub.set(headerObject, o.Object)
	if stub.record.Body, err = json.Marshal(o); err != nil {
		return nil, fmt.Errorf("encoding its name: %w", err)
	}
	return stub, nil
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
