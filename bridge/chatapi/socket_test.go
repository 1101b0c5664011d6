package chatapi

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// pair is a socket and its other end.
func pair(t *testing.T) (*socket, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []io.Closer{near, far, listener} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	tcp, ok := near.(*net.TCPConn)
	if !ok {
		t.Fatalf("a connection is a %T", near)
	}
	line, err := newLine(tcp)
	if err != nil {
		t.Fatal(err)
	}
	return &socket{Conn: line, line: line}, far
}

func TestSocketReadsWhatWasWritten(t *testing.T) {
	s, far := pair(t)
	want := make([]byte, 300_000)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	go func() {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(40_000))
			if _, err := far.Write(rest[:n]); err != nil {
				t.Errorf("writing: %v", err)
				return
			}
			rest = rest[n:]
		}
	}()
	var got []byte
	for len(got) < len(want) {
		p := make([]byte, 1+rand.IntN(2000))
		n, err := s.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Error("what was read is not what was written")
	}
	if s.block != nil {
		t.Error("an idle socket keeps a block")
	}
}

func TestSocketGathers(t *testing.T) {
	s, far := pair(t)
	var want []byte
	write := func(n int) {
		t.Helper()
		p := bytes.Repeat([]byte{byte(len(want))}, n)
		if m, err := s.Write(p); m != n || err != nil {
			t.Fatalf("wrote %d of %d: %v", m, n, err)
		}
		want = append(want, p...)
	}
	write(10)
	s.hold()
	for _, n := range []int{1, 100, 5000, 12_000, 70_000, 3, ahead, 9} {
		write(n)
	}
	if s.length != 9 {
		t.Errorf("%d bytes wait, want the last 9", s.length)
	}
	if err := s.flush(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if s.gathered != nil {
		t.Error("an idle socket keeps a block")
	}
	write(7)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read something else: %v", err)
	}
}

// No read crosses the end of an answer's head or of a frame, in whatever pieces
// they come.
func TestBoundsOfReads(t *testing.T) {
	parts := []string{
		"HTTP/1.1 200 OK\r\nVia: proxy\r\n\r\n", "HTTP/1.1 101 Switching\nUpgrade: websocket\n\n",
		"\x81\x00", "\x01\x02ab", "\x89\x01c", "\x80\x00", "\x82\x7e\x00\x03abc", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x02ab",
		"\x81\x82keysab", "\x81\xfe\x00\x01keysa", "\x8a\x03end",
	}
	all := strings.Join(parts, "")
	for size := 1; size <= len(all); size++ {
		var b bounds
		rest := all
		for i, part := range parts {
			b.frames = i >= 2
			for left := len(part); left > 0; {
				some := rest[:min(size, len(rest))]
				n := b.take([]byte(some))
				if want := min(left, len(some)); n != want {
					t.Fatalf("pieces of %d: took %d of part %d, want %d", size, n, i, want)
				}
				rest, left = rest[n:], left-n
			}
			if within := i == 3 || i == 4; b.within != within || b.read != 0 || b.left != 0 {
				t.Fatalf("pieces of %d, after part %d: %+v", size, i, b)
			}
		}
	}
}

// A pong that is there to its end is taken, and nothing else is, nor waited for.
func TestSocketTakesPongs(t *testing.T) {
	for _, test := range []struct {
		unread, rest string
		taken        bool
	}{
		{"\x8a\x00", "", true},
		{"\x8a\x02hi\x81", "\x81", true},
		{"\x8a\x02h", "\x8a\x02h", false},
		{"\x8a", "\x8a", false},
		{"\x89\x00", "\x89\x00", false}, // a ping is to be answered
		{"\x81\x02{}", "\x81\x02{}", false},
		{"\x8a\x7e\x00\x80", "\x8a\x7e\x00\x80", false}, // against the protocol
		{"\x8a\x80abcd", "\x8a\x80abcd", false},         // masked: so is this
		{"", "", false},
	} {
		s := &socket{unread: []byte(test.unread)}
		if taken := s.pong(); taken != test.taken || string(s.unread) != test.rest {
			t.Errorf("%x: %t, and %x is left", test.unread, taken, s.unread)
		}
	}
}
