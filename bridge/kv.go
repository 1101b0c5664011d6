package bridge

import (
	"context"
	"errors"
)

// Errors of a KV bucket; compare with errors.Is.
var (
	// ErrNotFound: the key holds no value.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the key exists already, or another revision stands.
	ErrConflict = errors.New("changed by someone else")
)

// Entry is one value of a bucket.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	// Deleted is set where a watch tells of a removal.
	Deleted bool
}

// KV is one bucket. Every call blocks until JetStream answers or ctx ends; a
// call that fails otherwise than by ErrNotFound or ErrConflict may have been
// carried out.
type KV interface {
	Get(ctx context.Context, key string) (Entry, error)
	// Create stores a key that has no value, else ErrConflict.
	Create(ctx context.Context, key string, value []byte) (uint64, error)
	// Update stores over revision, else ErrConflict.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	Put(ctx context.Context, key string, value []byte) (uint64, error)
	// Delete removes a key; one that is absent is no error.
	Delete(ctx context.Context, key string) error
	// All reads every entry.
	All(ctx context.Context) ([]Entry, error)
	// Watch calls f for every entry there is, then f(nil) once, then for every
	// change, until ctx ends; it makes good what a lost connection missed.
	Watch(ctx context.Context, f func(*Entry)) error
}
