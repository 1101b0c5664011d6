package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret bounds what is read from a secret file, in bytes.
const maxSecret = 64 << 10

// Resolve gives the secret that ref refers to: "env:NAME", "file:/path" (line
// ends at its end are dropped) or "value:…". An empty secret is an error. It
// reads the environment or the disk at each call, and its errors name the
// variable or the path, never a value.
func Resolve(ref string) (string, error) {
	scheme, rest, found := strings.Cut(ref, ":")
	if !found {
		return "", errors.New("secret reference without a scheme: want env:NAME, file:/path or value:…")
	}
	switch scheme {
	case "env":
		secret, set := os.LookupEnv(rest)
		if !set || secret == "" {
			return "", fmt.Errorf("secret in environment variable %q: not set or empty", rest)
		}
		return secret, nil
	case "file":
		secret, err := readSecret(rest)
		if err != nil {
			return "", fmt.Errorf("reading secret file: %w", err)
		}
		return secret, nil
	case "value":
		if rest == "" {
			return "", errors.New("secret given by value: empty")
		}
		return rest, nil
	default:
		// The whole may be a secret written where a reference belongs.
		return "", errors.New("secret reference with an unknown scheme: want env:NAME, file:/path or value:…")
	}
}

// readSecret reads a file that holds one secret. The errors of package os name
// the path alone.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxSecret {
		return "", fmt.Errorf("%s: larger than %d bytes", path, maxSecret)
	}
	secret := strings.TrimRight(string(raw), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s: empty", path)
	}
	return secret, nil
}
