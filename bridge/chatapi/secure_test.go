package chatapi

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clumped is a listener whose connections can write several TLS records at once.
type clumped struct{ net.Listener }

func (l clumped) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &clump{Conn: conn}, nil
}

type clump struct {
	net.Conn
	mu   sync.Mutex
	held []byte
	hold bool
}

func (c *clump) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// while gathers what f writes, and returns it unwritten.
func (c *clump) while(f func()) []byte {
	c.mu.Lock()
	c.hold = true
	c.mu.Unlock()
	f()
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held
	c.hold, c.held = false, nil
	return held
}

// securePlatform is a platform on wss, and who trusts it.
func securePlatform(t *testing.T) (*platform, func(c *Config)) {
	t.Helper()
	p := newPlatform(t)
	secure := httptest.NewUnstartedServer(p.Config.Handler)
	secure.Listener = clumped{secure.Listener}
	secure.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	return p, func(c *Config) {
		c.Definition.URL = "wss" + strings.TrimPrefix(secure.URL, "https")
		c.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
}

// Records and frames begin and end where they like.
func TestFramesAndRecords(t *testing.T) {
	eachWay(t, func(t *testing.T, way func(*Config)) {
		p, trust := securePlatform(t)
		s := start(t, p, way, trust)
		c := p.ready(t)
		s.connected(t)
		secure, _ := c.conn.NetConn().(*tls.Conn)
		below, ok := secure.NetConn().(*clump)
		if !ok {
			t.Fatal("the listener is not the test's")
		}
		n := 0
		next := func(size int) []byte { n++; return rawFrame(wholeText, eventFrame(n, size)) }
		direct := func(p []byte) {
			if _, err := below.Conn.Write(p); err != nil {
				t.Errorf("platform writing: %v", err)
			}
		}
		// Several frames in a record, several records in a segment.
		direct(below.while(func() {
			for range 5 {
				c.raw(append(append(next(10), next(20)...), rawFrame(ponging, "x")...))
			}
		}))
		s.expect(t, n)
		// A frame over records, and its end with the begin of another.
		direct(below.while(func() {
			all := append(next(40_000), next(1)...)
			for len(all) > 0 {
				some := all[:min(len(all), 777)]
				c.raw(some)
				all = all[len(some):]
			}
		}))
		s.expect(t, n)
		// Two records with two frames, in two segments that end at any byte.
		for at, length := 0, 1; at < length; at++ {
			records := below.while(func() {
				all := append(next(1), next(1)...)
				c.raw(all[:150])
				c.raw(all[150:])
			})
			length = len(records)
			direct(records[:at])
			pause(t, 300*time.Microsecond)
			direct(records[at:])
		}
		s.expect(t, n)
		c.acked(n)
	})
}

// What TLS has to say to itself, such as a session ticket, is nothing to read.
func TestTicketIsNothingToRead(t *testing.T) {
	s, far := pair(t)
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	below := &clump{Conn: far}
	peer := tls.Server(below, &tls.Config{Certificates: server.TLS.Certificates, MinVersion: tls.VersionTLS13})
	client := tls.Client(s.line, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(1)})
	shaken := make(chan error, 1)
	go func() { shaken <- peer.Handshake() }()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, shaken, "a handshake"); err != nil {
		t.Fatal(err)
	}
	s.Conn = client
	s.bounds.frames = true
	if s.more(false) { // the ticket is there, or not yet
		t.Fatal("there is something to read")
	}
	record := below.while(func() {
		if _, err := peer.Write(rawFrame(ponging, "data")); err != nil {
			t.Error(err)
		}
	})
	for i := range record {
		if s.more(false) {
			t.Fatalf("there is something to read after %d bytes of %d", i, len(record))
		}
		if _, err := far.Write(record[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "something to read", func() bool { return s.more(false) })
	if ping, data := s.control(); ping || string(data) != "data" {
		t.Errorf("read %q", data)
	}
	if s.more(false) || s.block != nil {
		t.Error("there is more to read")
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end", func() bool { return s.more(false) })
	if !errors.Is(s.failed, io.EOF) {
		t.Errorf("ended with %v", s.failed)
	}
}

// TestThroughAProxy has a proxy between session and platform: TLS begins behind it.
func TestThroughAProxy(t *testing.T) {
	p, trust := securePlatform(t)
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodConnect || r.Header.Get("Authorization") != "" {
			t.Errorf("the proxy was sent %s with %v", r.Method, r.Header)
		}
		far, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		near, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			t.Error(err)
		}
		var both sync.WaitGroup
		pass := func(to net.Conn, from io.Reader) {
			_, _ = io.Copy(to, from)
			_ = to.Close()
		}
		both.Go(func() {
			pass(far, bufio.NewReader(io.MultiReader(io.LimitReader(buffered, int64(buffered.Reader.Buffered())), near)))
		})
		both.Go(func() { pass(near, far) })
		both.Wait()
	}))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, p, trust, func(c *Config) {
		if err := c.Env.prepare(); err != nil {
			t.Fatal(err)
		}
		c.proxy = func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme != "https" {
				t.Errorf("asked for a proxy to %s", r.URL.Scheme)
			}
			return address, nil
		}
	})
	c := p.ready(t)
	s.connected(t)
	c.message(1)
	c.acked(1)
	if asked.Load() != 1 {
		t.Errorf("the proxy was asked %d times", asked.Load())
	}
}

// A platform without TLS on the address of one that has it gets no token.
func TestNoTokenInClear(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // the test is over
	got := make(chan string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // as above
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		said, _ := io.ReadAll(conn)
		got <- string(said)
	}()
	p := newPlatform(t)
	s := start(t, p, func(c *Config) {
		c.Definition.URL = "wss://" + listener.Addr().String()
		c.BackoffMin, c.BackoffMax = time.Hour, time.Hour
	})
	s.in(t, "disconnected")
	if said := receive(t, got, "what the session said"); strings.Contains(said, "secret") || strings.Contains(said, "GET") {
		t.Errorf("it said %q", said)
	}
}
