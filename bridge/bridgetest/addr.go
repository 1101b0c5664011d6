package bridgetest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreeAddr is an address of 127.0.0.1 that nobody listens on now. Its port is
// below those that the kernel gives to connections by itself, of which there are
// many in tests: it stays free until whoever is told it listens.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20_000+rand.IntN(10_000)))
		l, err := lc.Listen(t.Context(), "tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatalf("releasing a port: %v", err)
		}
		return addr
	}
	t.Fatal("no free port between 20000 and 30000")
	return ""
}
