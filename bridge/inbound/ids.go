package inbound

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// maxID bounds an id of the platform's inside a Nats-Msg-Id. WhatsApp's own are
// shorter than 200 characters.
const maxID = 256

// identifier returns id where it can stand in a header, else a hash of it: what
// a platform calls an id may be anything, and headers are bounded.
func identifier(id string) string {
	if len(id) <= maxID && headerSafe(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// headerSafe reports whether v passes through a NATS header as it is: printable
// ASCII without space.
func headerSafe(v string) bool {
	for i := range len(v) {
		if v[i] <= ' ' || v[i] > '~' {
			return false
		}
	}
	return v != ""
}

// maxToken bounds the last part of a ce-type.
const maxToken = 64

// token makes the last part of a ce-type out of a word of the platform's:
// letters, digits and "_"; everything else becomes "_".
func token(word string) string {
	if word == "" {
		return "unknown"
	}
	clean := len(word) <= maxToken
	for i := 0; clean && i < len(word); i++ {
		clean = tokenByte(word[i])
	}
	if clean {
		return word
	}
	b := []byte(word[:min(len(word), maxToken)])
	for i, c := range b {
		if !tokenByte(c) {
			b[i] = '_'
		}
	}
	return string(b)
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// digest hashes parts so that no two lists of parts run into each other.
type digest struct{ h hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) add(part []byte) digest {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(part)))
	// A hash never fails to write.
	_, _ = d.h.Write(size[:])
	_, _ = d.h.Write(part)
	return d
}

func (d digest) hex() string { return hex.EncodeToString(d.h.Sum(nil)[:16]) }
