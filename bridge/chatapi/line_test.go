package chatapi

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestWriteThatHasToWait: what the system has no room for is written once it has,
// or fails at the deadline.
func TestWriteThatHasToWait(t *testing.T) {
	near, peer := pair(t)
	line := near.line
	sent := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	read := make(chan []byte)
	go func() {
		<-time.After(50 * time.Millisecond) // by then the line waits
		got := make([]byte, len(sent)+3)
		n, _ := io.ReadFull(peer, got) // what is missing is seen below
		read <- got[:n]
	}()
	if err := line.SetWriteDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := line.Write(sent); err != nil || n != len(sent) {
		t.Fatalf("wrote %d of %d: %v", n, len(sent), err)
	}
	// A deadline is that of one write: another one may come long after it.
	if err := line.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := line.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; !bytes.Equal(got, append(sent, "end"...)) {
		t.Errorf("the peer read %d bytes, or others; want %d", len(got), len(sent)+3)
	}

	if err := line.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := line.Write(sent) // nobody reads any more
	if !errors.Is(err, os.ErrDeadlineExceeded) || n <= 0 || n >= len(sent) {
		t.Errorf("wrote %d of %d to a peer that does not read: %v", n, len(sent), err)
	}
}

func TestWriteToAPeerThatIsGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer abandon(listener)
	line, err := reach(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	abandon(peer)
	for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); {
		_, err = line.Write([]byte("x"))
	}
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Errorf("got %v, want an error of the network", err)
	}
	abandon(line)
	if _, err := line.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want that it is closed", err)
	}
}
