package chatapi

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
)

// outside is a platform that takes next to nothing of the process that is
// measured: of each connection it keeps a descriptor.
type outside struct {
	address string
	arrived chan int
}

func newOutside(b *testing.B, sessions int) *outside {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	o := &outside{address: listener.Addr().String(), arrived: make(chan int, sessions)}
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := o.greet(w, r); err != nil {
			b.Error(err)
		}
	})}
	go server.Serve(listener) //nolint:errcheck // it is closed
	b.Cleanup(func() {
		if err := server.Close(); err != nil {
			b.Error(err)
		}
	})
	return o
}

// greet opens a WebSocket, and leaves its descriptor to who measures.
func (o *outside) greet(w http.ResponseWriter, r *http.Request) error {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return errors.New("no TCP connection")
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: " + subprotocol +
		"\r\nSec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	_, written := io.WriteString(conn, head+string(rawFrame(wholeText, readyFrame(readyData))))
	file, err := tcp.File()
	if err != nil {
		return err
	}
	fd, err := syscall.Dup(int(file.Fd()))
	o.arrived <- fd
	return errors.Join(written, err, file.Close(), conn.Close())
}

// notes is a host that notes when all has come.
type notes struct {
	came   chan struct{}
	n, all int // have come, and are all
}

func (*notes) Changed(bridge.Change)                            {}
func (*notes) Wake()                                            {}
func (*notes) Position(context.Context, string) (uint64, error) { return 0, nil }

func (h *notes) Receive(_ context.Context, in *bridge.Inbound) error {
	in.Acker.Stored(in, nil)
	if h.n++; h.n == h.all {
		h.n = 0
		h.came <- struct{}{}
	}
	return nil
}

// begin starts so many sessions, and returns them and their descriptors on the
// platform's side.
func begin(b *testing.B, sessions, frames int) (all []*Session, fds []int, h *notes) {
	b.Helper()
	o := newOutside(b, sessions)
	h = &notes{came: make(chan struct{}, 1), all: frames}
	source, err := auth.NewStatic("token")
	if err != nil {
		b.Fatal(err)
	}
	shared := &Env{Ping: time.Hour, ReadIdle: 2 * time.Hour, CloseTimeout: time.Millisecond}
	ended := make(chan struct{}, sessions)
	done := func() { ended <- struct{}{} }
	for range sessions {
		s, err := New(Config{
			Definition: bridge.Definition{ID: "shop", URL: "ws://" + o.address + "/{session}"},
			Host:       h, Tokens: source, Env: shared,
		})
		if err != nil {
			b.Fatal(err)
		}
		s.Start(done)
		all, fds = append(all, s), append(fds, <-o.arrived)
		for s.link.Load() == nil {
			runtime.Gosched()
		}
	}
	b.Cleanup(func() {
		for _, s := range all {
			s.stop()
		}
		for range all {
			<-ended
		}
		for _, fd := range fds {
			if err := syscall.Close(fd); err != nil {
				b.Error(err)
			}
		}
	})
	return all, fds, h
}

// BenchmarkIdleSession measures a frame to one of many idle sessions, and what
// each holds on its side of the connection.
func BenchmarkIdleSession(b *testing.B) {
	const sessions = 2000
	heap, stack, goroutines := held()
	_, fds, h := begin(b, sessions, 1)
	idleHeap, idleStack, idleGoroutines := held()
	frames, cpu := 0, spent()
	for b.Loop() {
		write(b, fds[frames%sessions], 1+frames/sessions)
		frames++
		<-h.came
	}
	b.ReportMetric(float64(spent()-cpu)/float64(frames), "cpu-ns/op")
	b.ReportMetric(float64(idleHeap-heap)/sessions, "heap-B/session")
	b.ReportMetric(float64(idleStack-stack)/sessions, "stack-B/session")
	b.ReportMetric(float64(idleGoroutines-goroutines)/sessions, "goroutines/session")
}

// BenchmarkBusySession measures a frame of many to one session.
func BenchmarkBusySession(b *testing.B) {
	_, fds, h := begin(b, 1, b.N)
	go func() {
		var acks [4 << 10]byte
		for {
			if n, err := syscall.Read(fds[0], acks[:]); n <= 0 || err != nil {
				return
			}
		}
	}()
	b.ResetTimer()
	cpu := spent()
	for i := range b.N {
		write(b, fds[0], i+1)
	}
	<-h.came
	b.StopTimer()
	b.ReportMetric(float64(spent()-cpu)/float64(b.N), "cpu-ns/op")
}

// write writes an event.
func write(b *testing.B, fd, sequence int) {
	b.Helper()
	frame := rawFrame(wholeText, messageFrame(sequence, "whatsapp.message.text", `{"message":{"id":"m"}}`))
	if _, err := syscall.Write(fd, frame); err != nil {
		b.Fatal(err)
	}
}

// held is what the process holds, in bytes, and its goroutines.
func held() (heap, stack int64, goroutines int) {
	time.Sleep(300 * time.Millisecond) //nolint:forbidigo // what is over has no event
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse), runtime.NumGoroutine()
}

// spent is the CPU time that the process has taken.
func spent() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// goroutines counts those whose stack names one of these.
func goroutines(names ...string) int {
	stacks := make([]byte, 16<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, name := range names {
			if strings.Contains(stack, name) {
				n++
				break
			}
		}
	}
	return n
}

func TestIdleSessionsHaveNoGoroutine(t *testing.T) {
	const sessions = 200
	p := newPlatform(t)
	p.peers = make(chan *peer, sessions)
	source, err := auth.NewStatic("token")
	if err != nil {
		t.Fatal(err)
	}
	shared := &Env{Ping: 300 * time.Millisecond, ReadIdle: patience}
	var hosts []*host
	var stops []func()
	ended := make(chan struct{}, sessions)
	for range sessions {
		h := &host{}
		s, err := New(Config{
			Definition: bridge.Definition{ID: "shop", URL: "ws" + strings.TrimPrefix(p.URL, "http")},
			Host:       h, Tokens: source, Env: shared,
		})
		if err != nil {
			t.Fatal(err)
		}
		hosts, stops = append(hosts, h), append(stops, s.Start(func() { ended <- struct{}{} }))
	}
	var peers []*peer
	for range sessions {
		peers = append(peers, p.ready(t))
	}
	for _, c := range peers {
		receive(t, c.pings, "a ping")
		receive(t, c.pings, "another ping") // its pong has been read in between
	}
	eventually(t, "no goroutine of a session", func() bool { return goroutines("chatapi.(*link)", "chatapi.(*Session)") == 0 })
	if n := goroutines("chatapi.(*poller).wait("); n != 1 {
		t.Errorf("%d goroutines wait for all", n)
	}
	for _, c := range peers {
		c.message(1)
	}
	for _, h := range hosts {
		eventually(t, "an event", func() bool { return h.got() == "1:1" })
	}
	for _, stop := range stops {
		stop()
	}
	for range sessions {
		receive(t, ended, "the end of a session")
	}
	eventually(t, "the poller's end", func() bool { return goroutines("chatapi.(*poller).wait(") == 0 })
}
