package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestResolve(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("from file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AUTH_TEST_SECRET", "from env")
	t.Setenv("AUTH_TEST_EMPTY", "")
	for ref, want := range map[string]string{
		"env:AUTH_TEST_SECRET": "from env", "file:" + path: "from file", "value:a:b": "a:b",
	} {
		if got, err := Resolve(ref); err != nil || got != want {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "s3cr3t", "s3cr3t:x", "value:", "env:AUTH_TEST_EMPTY", "env:AUTH_TEST_UNSET", "file:/does/not/exist"} {
		_, err := Resolve(ref)
		if err == nil {
			t.Errorf("%s: no error", ref)
		}
		noSecret(t, fmt.Sprint(err), "s3cr3t")
	}
}

func TestMissing(t *testing.T) {
	if got := Missing([]string{"a", "c"}, []string{"b", "a", "d"}); !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("got %q", got)
	}
	if got := Missing([]string{"a"}, []string{"a"}); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestVerifySignature(t *testing.T) {
	// RFC 4231's key and data of test case 2.
	const header = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
	body := []byte("what do ya want for nothing?")
	for name, test := range map[string]struct {
		secrets []string
		body    []byte
		header  string
		want    bool
	}{
		"current":      {[]string{"Jefe"}, body, header, true},
		"previous":     {[]string{"new", "Jefe"}, body, header, true},
		"upper case":   {[]string{"Jefe"}, body, "sha256=" + strings.ToUpper(header[7:]), true},
		"other secret": {[]string{"Jeff"}, body, header, false},
		"no secret":    {nil, body, header, false},
		"empty secret": {[]string{""}, body, "sha256=" + AppSecretProof("", string(body), time.Time{}), false},
		"flipped bit":  {[]string{"Jefe"}, []byte("what do ya want for nothing!"), header, false},
		"sha1":         {[]string{"Jefe"}, body, "sha1=" + header[7:], false},
		"short":        {[]string{"Jefe"}, body, header[:20], false},
		"long":         {[]string{"Jefe"}, body, header + "00", false},
		"not hex":      {[]string{"Jefe"}, body, "sha256=" + strings.Repeat("z", 64), false},
		"empty":        {[]string{"Jefe"}, body, "", false},
	} {
		if got := VerifySignature(test.secrets, test.body, test.header); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAppSecretProof(t *testing.T) {
	plain := AppSecretProof("Jefe", "what do ya want for nothing?", time.Time{})
	if plain != "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" {
		t.Errorf("plain form %s", plain)
	}
	timed := AppSecretProof("secret", "token", time.Unix(1795430000, 5))
	if timed != AppSecretProof("secret", "token|1795430000", time.Time{}) {
		t.Errorf("form with a time %s", timed)
	}
}

func TestSeal(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb}, 32)
	var keys []Key
	for _, written := range []string{
		hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw),
		base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	} {
		key, err := ParseKey(written)
		if err != nil {
			t.Fatalf("%v", err)
		}
		keys = append(keys, key)
	}
	sealed, err := Seal(keys[0], []byte("token"), []byte("shop"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if opened, err := Open(key, sealed, []byte("shop")); err != nil || string(opened) != "token" {
			t.Errorf("%q, %v", opened, err)
		}
	}
	again, err := Seal(keys[0], []byte("token"), []byte("shop"))
	if err != nil || bytes.Equal(again, sealed) || bytes.Contains(sealed, []byte("token")) {
		t.Errorf("sealed twice: equal %v, %v", bytes.Equal(again, sealed), err)
	}
	if _, err := Open(keys[0], sealed, []byte("support")); err == nil {
		t.Error("opened under another session")
	}
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 1
		if _, err := Open(keys[0], flipped, []byte("shop")); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
	if _, err := Open(Key{}, sealed, []byte("shop")); err == nil {
		t.Error("opened with another key")
	}
	if printed := fmt.Sprintf("%v %+v %#v %s", keys[0], keys[0], keys[0], keys[0]); strings.Contains(printed, "251") || strings.Contains(printed, "0xfb") {
		t.Errorf("a key printed as %s", printed)
	}
	for _, bad := range []string{"", "short", hex.EncodeToString(raw[:31]), strings.Repeat("!", 44)} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
