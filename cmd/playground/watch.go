package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/term"
)

// watcher prints one line for each message on the subjects.
type watcher struct {
	mu     sync.Mutex
	out    io.Writer
	colour bool
	width  int
}

func newWatcher(out io.Writer) *watcher {
	w := &watcher{out: out, width: 160}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		w.colour = os.Getenv("NO_COLOR") == ""
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 40 {
			w.width = width
		}
	}
	return w
}

// message prints a message that a client published or the bridge stored.
func (w *watcher) message(m *nats.Msg) {
	parts := strings.SplitN(m.Subject, ".", 3)
	if len(parts) < 3 {
		return
	}
	colours := map[string]string{"send": "36", "recv": "32", "status": "33", "event": "35", "dead": "31"}
	colour, known := colours[parts[1]]
	if !known {
		return
	}
	what := strings.TrimPrefix(m.Header.Get("ce-type"), "whatsapp.")
	line := fmt.Sprintf("%-22s %s", m.Subject, oneLine(what, m.Data))
	clock := time.Now().Format("15:04:05.000")
	if room := w.width - len(clock) - 2; len(line) > room {
		line = strings.ToValidUTF8(line[:room-1], "") + "…"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.colour {
		fmt.Fprintf(w.out, "%s \x1b[%sm%s\x1b[0m\n", clock, colour, line)
		return
	}
	fmt.Fprintf(w.out, "%s %s\n", clock, line)
}

// oneLine shows a body on one line, without what a terminal would act on.
func oneLine(what string, body []byte) string {
	text := string(bytes.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, body))
	if what == "" {
		return text
	}
	return what + " " + text
}
