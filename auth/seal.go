package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Key seals what is stored: 32 bytes for AES-256-GCM. It prints as hidden.
type Key [32]byte

// String hides the key.
func (Key) String() string { return "key " + hidden }

// GoString hides it from %#v.
func (Key) GoString() string { return "key " + hidden }

// ParseKey reads a key of 32 bytes written in hexadecimal or base64 (either
// alphabet, padded or not).
func ParseKey(s string) (Key, error) {
	var key Key
	if raw, err := hex.DecodeString(s); err == nil && len(raw) == len(key) {
		return Key(raw), nil
	}
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	raw, err := base64.RawStdEncoding.Strict().DecodeString(standard)
	if err != nil || len(raw) != len(key) {
		return key, errors.New("key: want 32 bytes in hexadecimal or base64")
	}
	return Key(raw), nil
}

// Seal encrypts plaintext under a random nonce, which it puts in front. aad is
// what the result is bound to, such as the session's id: Open needs the same.
func Seal(key Key, plaintext, aad []byte) ([]byte, error) {
	aead, err := key.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plaintext, aad), nil //nolint:gosec // aead draws the nonce itself
}

// Open decrypts what Seal returned, or fails where key, aad or a bit of sealed
// is another.
func Open(key Key, sealed, aad []byte) ([]byte, error) {
	aead, err := key.aead()
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, errors.New("opening sealed value: wrong key, or not what was sealed")
	}
	return plaintext, nil
}

// aead is AES-256-GCM with nonces that it draws itself.
func (k *Key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, fmt.Errorf("preparing AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("preparing GCM: %w", err)
	}
	return aead, nil
}
