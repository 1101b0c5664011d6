package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// filePoll is how often a token file is looked at while its token is in use.
const filePoll = 30 * time.Second

// static is a token that never changes.
type static struct{ token Token }

// NewStatic returns a source of one token that was given, whose end is not
// known. Invalidate does nothing: there is no other, and the platform may take
// it again.
func NewStatic(token string, scopes ...string) (Source, error) {
	if token == "" {
		return nil, errors.New("static token: empty")
	}
	return static{Token{AccessToken: token, Scopes: scopes}}, nil
}

// Token implements Source.
func (s static) Token(context.Context) (Token, error) { return s.token, nil }

// Invalidate implements Source.
func (s static) Invalidate(string) {}

// file is a token in a file that something else keeps fresh.
type file struct {
	path   string
	scopes []string

	mu      sync.Mutex
	token   string
	size    int64
	changed time.Time
}

// NewFile returns a source of the token that the file at path holds. It reads
// the file anew whenever its time or size has changed, also where that is a
// link that now leads elsewhere.
func NewFile(path string, scopes ...string) (Source, error) {
	f := &file{path: path, scopes: scopes}
	if _, err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Token implements Source.
func (f *file) Token(context.Context) (Token, error) {
	token, err := f.read()
	if err != nil {
		return Token{}, err
	}
	return Token{AccessToken: token, Scopes: f.scopes, renewAt: time.Now().Add(filePoll)}, nil
}

// Invalidate implements Source: the next call of Token reads the file, changed
// or not.
func (f *file) Invalidate(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.token == token {
		f.token = ""
	}
}

// read returns the file's token, from memory where the file is as it was.
func (f *file) read() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return "", fmt.Errorf("reading token file: %w", err)
	}
	if f.token != "" && info.Size() == f.size && info.ModTime().Equal(f.changed) {
		return f.token, nil
	}
	token, err := readSecret(f.path)
	if err != nil {
		return "", fmt.Errorf("reading token file: %w", err)
	}
	f.token, f.size, f.changed = token, info.Size(), info.ModTime()
	return token, nil
}
