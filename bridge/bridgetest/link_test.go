package bridgetest

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // it is closed
			}
			go func() {
				_, _ = io.Copy(c, c) // the client ends it
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// says writes to a connection and tells whether the echo comes, within wait.
func says(t *testing.T, c net.Conn, wait time.Duration) error {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	return hears(t, c, wait)
}

func hears(t *testing.T, c net.Conn, wait time.Duration) error {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestLink(t *testing.T) {
	const soon, silence = 10 * time.Second, 100 * time.Millisecond
	l, err := NewLink("a link", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func() net.Conn {
		t.Helper()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // the link may have ended it
		return c
	}
	c := dial()
	if err := says(t, c, soon); err != nil {
		t.Fatalf("nothing passes: %v", err)
	}
	for name, hold := range map[string]func(){"up": l.HoldUp, "down": l.HoldDown} {
		hold()
		if err := says(t, c, silence); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("held %s, it gives %v", name, err)
		}
		l.Heal()
		if err := hears(t, c, soon); err != nil {
			t.Errorf("what was held %s does not come: %v", name, err)
		}
	}
	l.Cut()
	if err := hears(t, c, soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("cut, it gives %v", err)
	}
	if err := says(t, dial(), soon); err != nil {
		t.Errorf("after the cut: %v", err)
	}
	l.Refuse()
	// The reset may come while the dial is still looking at its connection.
	c, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr())
	if err == nil {
		err = says(t, c, soon)
		_ = c.Close() // the link has ended it
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("refused, it gives %v", err)
	}
	l.Heal()
	if err := says(t, dial(), soon); err != nil {
		t.Errorf("healed: %v", err)
	}
}
