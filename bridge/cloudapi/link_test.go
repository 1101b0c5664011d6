package cloudapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"wabridge/codec"
)

func TestGuard(t *testing.T) {
	tests := map[string]bool{
		"1.1.1.1": true, "93.184.216.34": true, "157.240.1.53": true, "2606:4700::1111": true, "2a03:2880:f12f:83:face:b00c:0:25de": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "100.127.255.255": false,
		"127.0.0.1": false, "127.1.2.3": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.0.0.1": false, "192.0.2.1": false, "192.88.99.1": false, "192.168.1.1": false, "198.18.0.1": false, "198.19.255.255": false,
		"198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "100::1": false, "2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false,
		"3fff::1": false, "5f00::1": false, "fc00::1": false, "fd00:ec2::254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
		"::ffff:1.1.1.1": true, "172.32.0.1": true, "100.128.0.1": true,
	}
	strict, loose := newGuard(false), newGuard(true)
	for raw, want := range tests {
		addr := netip.MustParseAddr(raw)
		if got := strict.allows(addr); got != want {
			t.Errorf("%s: %t", raw, got)
		}
		if got := loose.allows(addr); got != (want || addr.Unmap().IsLoopback()) {
			t.Errorf("%s with loopback: %t", raw, got)
		}
	}
	for _, address := range []string{"127.0.0.1:443", "[::1]:443", "localhost:443", "nonsense", ""} {
		if err := strict.control("tcp", address, nil); !errors.Is(err, errAddress) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The guard sees what is dialled: names, odd spellings and redirects lead
// nowhere.
func TestLinksStayOutside(t *testing.T) {
	var hit bool
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hit = true }))
	defer inside.Close()
	port := inside.URL[strings.LastIndexByte(inside.URL, ':'):]
	f := newLinkFetcher(false)
	defer f.http.CloseIdleConnections()
	for _, link := range []string{
		inside.URL, "https://localhost" + port, "https://127.0.0.1" + port, "https://[::1]" + port, "https://[::ffff:127.0.0.1]" + port,
		"https://0.0.0.0" + port, "https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://user:pass@1.1.1.1/",
		"http://1.1.1.1/", "http://127.0.0.1" + port, "ftp://1.1.1.1/", "file:///etc/passwd", "gopher://1.1.1.1/", "//1.1.1.1/x", "https:///x", "x", "", "https://1.1.1.1:bad/",
	} {
		res, err := f.open(t.Context(), link)
		if err == nil {
			res.Body.Close() //nolint:errcheck // the test fails
			t.Errorf("%s was opened", link)
			continue
		}
		if bad, ok := errors.AsType[*mediaError](err); !ok || bad.class != codec.Invalid {
			t.Errorf("%s: %v", link, err)
		}
		if link != "" && link != "x" && strings.Contains(err.Error(), link) {
			t.Errorf("the error quotes the link: %v", err)
		}
	}
	if hit {
		t.Error("a link reached this machine")
	}
}

func TestLinkAnswers(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/inside":
			http.Redirect(w, r, "https://10.0.0.1/", http.StatusFound)
		case "/plain":
			http.Redirect(w, r, "http://1.1.1.1/", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/404":
			w.WriteHeader(http.StatusNotFound)
		case "/503":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/large":
			w.Header().Set("Content-Length", fmt.Sprint(maxMedia+1))
		case "/cut":
			panic(http.ErrAbortHandler)
		}
	}))
	defer inside.Close()
	f := newLinkFetcher(true)
	defer f.http.CloseIdleConnections()
	for path, want := range map[string]codec.Class{
		"/loop": codec.Invalid, "/inside": codec.Invalid, "/plain": codec.Invalid, "/file": codec.Invalid,
		"/404": codec.Permanent, "/503": codec.Transient, "/large": codec.Invalid, "/cut": codec.Transient,
	} {
		res, err := f.open(t.Context(), inside.URL+path)
		if err == nil {
			res.Body.Close() //nolint:errcheck // the test fails
			t.Errorf("%s was opened", path)
			continue
		}
		if bad, ok := errors.AsType[*mediaError](err); !ok || bad.class != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestBounded(t *testing.T) {
	b := &bounded{r: strings.NewReader("12345"), left: 5}
	if got, err := io.ReadAll(b); err != nil || string(got) != "12345" {
		t.Errorf("%q %v", got, err)
	}
	b = &bounded{r: strings.NewReader("123456"), left: 5}
	if _, err := io.ReadAll(b); !errors.Is(err, errTooBig) {
		t.Errorf("%v", err)
	}
	b = &bounded{r: bytes.NewReader(make([]byte, 1<<20)), left: 5}
	if n, err := b.Read(make([]byte, 1<<20)); n != 6 || !errors.Is(err, errTooBig) {
		t.Errorf("%d %v", n, err)
	}
}

func TestLinksAreRemembered(t *testing.T) {
	f := newLinkFetcher(false)
	f.keep("https://a.example/", "object")
	if f.known("https://a.example/") != "object" || f.known("https://b.example/") != "" {
		t.Error("not remembered")
	}
	for i := range 2 * linksKept {
		f.keep(fmt.Sprint(i), "object")
	}
	if len(f.kept) > linksKept {
		t.Errorf("%d links are kept", len(f.kept))
	}
}
