package main

import (
	"crypto/rand"
	"encoding/hex"
)

// trace is the beginning of a trace, sampled.
type trace struct{ id, span string }

func newTrace() trace {
	var b [24]byte
	// It never fails.
	_, _ = rand.Read(b[:])
	return trace{id: hex.EncodeToString(b[:16]), span: hex.EncodeToString(b[16:])}
}

// parent is the W3C's traceparent.
func (t trace) parent() string { return "00-" + t.id + "-" + t.span + "-01" }
