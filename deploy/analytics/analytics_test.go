package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	"wabridge/bridge/bridgetest"
	"wabridge/codec"
)

const patience = 60 * time.Second

// asProgram makes the test's own program be the one under test, so that it can
// be killed.
const asProgram = "ANALYTICS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// feed is a stream as the bridge makes it, and what publishes to it.
type feed struct {
	*bridgetest.Server
	js jetstream.JetStream
}

func newFeed(t *testing.T) *feed {
	t.Helper()
	server := bridgetest.NATS(t)
	f := &feed{server, server.JetStream(t)}
	if _, err := f.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "WA_RECV", Subjects: []string{"wa.recv.*", "wa.status.*", "wa.event.*"},
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *feed) publish(t *testing.T, subject, id, kind, conversation string, at time.Time, body []byte) {
	t.Helper()
	m := nats.NewMsg(subject)
	codec.SetEventHeaders(m.Header, codec.EventAttributes{ID: id, Source: "/wabridge/shop", Type: kind, Subject: conversation, Time: at})
	m.Header.Set(nats.MsgIdHdr, id)
	m.Data = body
	// A server that was just restarted may lose an answer: the id makes the
	// repeat one message.
	var err error
	for range 5 {
		if _, err = f.js.PublishMsg(t.Context(), m); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (f *feed) message(t *testing.T, id, from string, at time.Time, more string) {
	t.Helper()
	body := fmt.Sprintf(`{"message":{"from":%q,"id":%q,"type":"text","text":{"body":"secret words"}%s}}`, from, id, more)
	f.publish(t, "wa.recv.shop", "shop:"+id, "whatsapp.message.text", from, at, []byte(body))
}

func (f *feed) status(t *testing.T, r codec.Report) {
	t.Helper()
	f.publish(t, "wa.status.shop", "shop:"+r.Ref+r.ID+":"+r.Status, "whatsapp.status."+r.Status, r.To, r.At, r.Append(nil))
}

func (f *feed) config(dir string) config {
	return config{url: f.URL(), stream: "WA_RECV", dir: dir, rows: 20, every: 100 * time.Millisecond, log: slog.New(slog.DiscardHandler)}
}

// landAll lands what is on the stream, up to the given sequences, and ends in
// order.
func (f *feed) landAll(t *testing.T, c config, messages, statuses uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, c) }()
	bridgetest.Eventually(t, patience, func() bool {
		return landed(c.dir, "messages") >= messages && landed(c.dir, "statuses") >= statuses
	}, "not everything is landed")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// landed is up to which sequence a table is landed, 0 where it is not there yet.
func landed(dir, table string) uint64 {
	last, err := folder(filepath.Join(dir, table)).landed()
	if err != nil {
		return 0
	}
	return last
}

// read reads a table back, file by file.
func read[T any](t *testing.T, dir, table string) []T {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, table, "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var all []T
	for _, name := range names {
		rows, err := parquet.ReadFile[T](name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rows...)
	}
	return all
}

// Under load the program is killed again and again. Each message of the stream
// is in exactly one file, in order.
func TestKilledAndStartedAgain(t *testing.T) {
	f, dir := newFeed(t), t.TempDir()
	const each, kills = 400, 4
	at := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := range each {
			f.message(t, fmt.Sprint("m", i), "15550142233", at, "")
			f.status(t, codec.Report{Ref: fmt.Sprint("r", i), ID: fmt.Sprint("w", i), To: "15550142233", Status: "accepted", At: at, Attempts: 1})
			f.publish(t, "wa.event.shop", fmt.Sprint("e", i), "whatsapp.event.x", "", at, []byte(`{"field":"x"}`))
			<-tick.C
		}
	}()
	for range kills {
		before := landed(dir, "messages")
		p := startProgram(t, f, dir)
		bridgetest.Eventually(t, patience, func() bool { return landed(dir, "messages") > before }, "nothing is landed")
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err == nil {
			t.Error("it ended by itself")
		}
		if landed(dir, "messages") >= 3*each-2 {
			break // all is landed, there is nothing to wait for
		}
	}
	<-done
	f.landAll(t, f.config(dir), 3*each-2, 3*each-1)

	var sequences []int64
	for _, m := range read[message](t, dir, "messages") {
		sequences = append(sequences, m.Sequence)
	}
	checkEach(t, "messages", sequences, each, 1)
	sequences = nil
	for _, s := range read[status](t, dir, "statuses") {
		sequences = append(sequences, s.Sequence)
	}
	checkEach(t, "statuses", sequences, each, 2)
}

func startProgram(t *testing.T, f *feed, dir string) *exec.Cmd {
	t.Helper()
	p := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	p.Env = append(os.Environ(), asProgram+"=1", "NATS_URL="+f.URL(), "DIR="+dir, "ROWS=20", "EVERY=20ms")
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// checkEach: every third sequence of the stream, from first on, once and in order.
func checkEach(t *testing.T, table string, sequences []int64, want int, first int64) {
	t.Helper()
	if len(sequences) != want {
		t.Errorf("%s has %d rows, want %d", table, len(sequences), want)
	}
	for i, s := range sequences {
		if s != first+3*int64(i) {
			t.Fatalf("row %d of %s has sequence %d, want %d", i, table, s, first+3*int64(i))
		}
	}
}

// A server that restarts is waited for.
func TestServerRestarts(t *testing.T) {
	f, dir := newFeed(t), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, f.config(dir)) }()
	for i := range uint64(3) {
		if i > 0 {
			f.Restart(t)
		}
		f.message(t, fmt.Sprint(i), "15550142233", time.Now(), "")
		bridgetest.Eventually(t, patience, func() bool { return landed(dir, "messages") == i+1 }, "message %d is not landed", i)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(read[message](t, dir, "messages")); n != 3 {
		t.Errorf("%d messages are landed, want 3", n)
	}
}

func TestRows(t *testing.T) {
	f, dir := newFeed(t), t.TempDir()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.message(t, "wamid.1", "15550142233", at, `,"context":{"id":"wamid.0"}`)
	f.publish(t, "wa.recv.shop", "shop:wamid.2", "whatsapp.message.order", "é", at, []byte(`{"object":"shop/x","size":9,"sha256":"00"}`))
	f.status(t, codec.Report{
		Ref: "r", To: "15550142233", Status: "rejected", At: at, Attempts: 2, Error: &codec.ReportError{Class: codec.Permanent, Code: 131047},
	})
	f.landAll(t, f.config(dir), 2, 3)

	messages, statuses := read[message](t, dir, "messages"), read[status](t, dir, "statuses")
	for i := range messages {
		if s := &messages[i].Stored; time.Since(*s).Abs() > time.Hour {
			t.Errorf("stored at %v", *s)
		} else {
			*s = time.Time{}
		}
		messages[i].At = messages[i].At.UTC()
	}
	statuses[0].Stored, statuses[0].At = time.Time{}, statuses[0].At.UTC()
	if want := []message{
		{source: source{Sequence: 1, Session: "shop", At: at, Conversation: "15550142233"}, ID: "wamid.1", Type: "text", ReplyTo: "wamid.0"},
		{source: source{Sequence: 2, Session: "shop", At: at, Conversation: "é"}, ID: "wamid.2", Type: "order"},
	}; !slices.Equal(messages, want) {
		t.Errorf("messages:\n%+v\nwant\n%+v", messages, want)
	}
	if want := (status{
		source: source{Sequence: 3, Session: "shop", At: at, Conversation: "15550142233"},
		Ref:    "r", Status: "rejected", Rank: 9, Attempts: 2, Class: "permanent", Code: 131047,
	}); statuses[0] != want {
		t.Errorf("statuses:\n%+v\nwant\n%+v", statuses[0], want)
	}
	for _, file := range files(t, dir) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "secret words") {
			t.Errorf("%s holds message text", file)
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(names) == 0 {
		t.Fatal("no files", err)
	}
	return names
}

// What a crash left is cleared; what cannot be right stops the program.
func TestFolder(t *testing.T) {
	f := folder(filepath.Join(t.TempDir(), "messages"))
	if landed, err := f.open(); landed != 0 || err != nil {
		t.Fatal(landed, err)
	}
	create := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(string(f), name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	create(temporary)
	create("notes.txt")
	if err := write(f, []message{{ID: "a"}}, 3, 9); err != nil {
		t.Fatal(err)
	}
	if landed, err := f.open(); landed != 9 || err != nil {
		t.Errorf("landed up to %d, %v", landed, err)
	}
	if _, err := os.Stat(filepath.Join(string(f), temporary)); err == nil {
		t.Error("what was half written is still there")
	}
	if err := write(f, []message{{ID: "b"}}, 9, 12); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("a second writer: %v", err)
	}
	for _, name := range []string{"all.parquet", fmt.Sprintf(fileName, 5, 12), fmt.Sprintf(fileName, 20, 12)} {
		create(name)
		if _, err := f.open(); err == nil {
			t.Errorf("%s is taken", name)
		}
		if err := os.Remove(filepath.Join(string(f), name)); err != nil {
			t.Fatal(err)
		}
	}

	feed := newFeed(t)
	feed.message(t, "1", "15550142233", time.Now(), "")
	err := run(t.Context(), feed.config(filepath.Dir(string(f))))
	if err == nil || !strings.Contains(err.Error(), "of another stream") {
		t.Errorf("files that are ahead of the stream: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("ROWS", "none")
	t.Setenv("EVERY", "soon")
	if _, err := fromEnvironment(); err == nil || !strings.Contains(err.Error(), "ROWS") || !strings.Contains(err.Error(), "EVERY") {
		t.Errorf("got %v", err)
	}
	t.Setenv("ROWS", "5")
	t.Setenv("EVERY", "2s")
	if c, err := fromEnvironment(); err != nil || c.rows != 5 || c.every != 2*time.Second || c.dir != "analytics" {
		t.Errorf("got %+v, %v", c, err)
	}
}
