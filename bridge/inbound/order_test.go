package inbound_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

func quote(s string) string {
	return `"` + strings.NewReplacer("\n", `\n`, `"`, `\"`, `\`, `\\`).Replace(s) + `"`
}

// numbered is message n of epoch e.
func numbered(e string, n int) *bridge.Inbound {
	return &bridge.Inbound{
		Kind: bridge.KindMessage, Epoch: e, Sequence: uint64(n),
		Data: fmt.Appendf(nil, `{"message":{"from":"15550142233","id":"wamid.%s%d","timestamp":"%d","type":"text"}}`,
			strings.TrimPrefix(e, "e1"), n, time.Now().Unix()),
	}
}

// padded is like numbered with a body of at least size bytes.
func padded(n, size int) *bridge.Inbound {
	return &bridge.Inbound{
		Kind: bridge.KindMessage, Epoch: "e1", Sequence: uint64(n),
		Data: fmt.Appendf(nil, `{"message":{"from":"15550142233","id":"wamid.%d","timestamp":"%d","type":"text","text":{"body":"%s"}}}`,
			n, time.Now().Unix(), strings.Repeat("a", size)),
	}
}

func TestAcksFollowAnswers(t *testing.T) {
	store := new(memory)
	s := newSession(t, config(t, store))
	heard := new(acks)
	const n = 100
	ins := make([]*bridge.Inbound, n)
	for i := range ins {
		ins[i] = numbered("e1", i+1)
		ins[i].Acker = heard
		receive(t, s, ins[i])
	}
	if len(store.records) != n || heard.len() != 0 {
		t.Fatalf("%d put, %d acked before any answer; want %d, 0", len(store.records), heard.len(), n)
	}
	for i := range n {
		if got, want := store.records[i].Header["Wa-Sequence"][0], fmt.Sprint(i+1); got != want {
			t.Fatalf("record %d has sequence %s", i, got)
		}
		store.answer(bridge.Stored{Duplicate: i%3 == 0})
		if heard.len() != i+1 || heard.ins[i] != ins[i] || heard.errs[i] != nil {
			t.Fatalf("after answer %d: heard %d, the last %v", i, heard.len(), heard.errs[i])
		}
	}
}

func TestReceiveBlocksWhileTheStoreDoes(t *testing.T) {
	entered := make(chan struct{})
	enter := sync.OnceFunc(func() { close(entered) })
	s := newSession(t, config(t, putFunc(func(ctx context.Context, _ *bridge.Record) error {
		enter()
		<-ctx.Done()
		return ctx.Err()
	})))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 2)
	heard := new(acks)
	give := func() {
		in := numbered("e1", 1)
		in.Acker = heard
		result <- s.Receive(ctx, in)
	}
	go give()
	<-entered
	go give() // waits for its turn
	cancel()
	for range 2 {
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that the context ended", err)
		}
	}
	if heard.len() != 0 {
		t.Error("the acker heard of what was not taken")
	}
}

func TestStoreThatIsClosed(t *testing.T) {
	s := newSession(t, config(t, putFunc(func(context.Context, *bridge.Record) error { return bridge.ErrClosed })))
	if err := s.Receive(t.Context(), numbered("e1", 1)); !errors.Is(err, bridge.ErrClosed) {
		t.Errorf("got %v, want that the store is closed", err)
	}
}

func TestNothingCountsAsStoredBehindAGap(t *testing.T) {
	store := new(memory)
	s := newSession(t, config(t, store))
	heard := new(acks)
	send := func(n int) {
		in := numbered("e1", n)
		in.Acker = heard
		receive(t, s, in)
	}
	for n := 1; n <= 4; n++ {
		send(n)
	}
	store.answer(bridge.Stored{})
	store.answer(bridge.Stored{Err: bridge.ErrTooLarge})
	store.answer(bridge.Stored{})
	store.answer(bridge.Stored{})
	for n := 2; n <= 4; n++ { // the platform sends again
		send(n)
		store.answer(bridge.Stored{})
	}
	var got []string
	for i, in := range heard.ins {
		got = append(got, fmt.Sprintf("%d:%t", in.Sequence, heard.errs[i] == nil))
	}
	if want := "1:true 2:false 3:false 4:false 2:true 3:true 4:true"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	if !errors.Is(heard.errs[1], bridge.ErrTooLarge) {
		t.Errorf("got %v for the one that failed", heard.errs[1])
	}
	if at, _ := s.Checkpoint(); at.Sequence != 4 || len(at.Ahead) != 0 {
		t.Errorf("stored %+v; want up to sequence 4", at)
	}
}

func TestAGapEndsWithItsEpoch(t *testing.T) {
	store := new(memory)
	s := newSession(t, config(t, store))
	heard := new(acks)
	for _, in := range []*bridge.Inbound{numbered("e1", 1), numbered("e2", 5)} {
		in.Acker = heard
		receive(t, s, in)
	}
	store.answer(bridge.Stored{Err: bridge.ErrTooLarge})
	store.answer(bridge.Stored{})
	if heard.errs[1] != nil {
		t.Errorf("got %v, want that the new epoch is stored", heard.errs[1])
	}
}

func TestObserveComesBeforeTheStatus(t *testing.T) {
	var order []string
	cfg := config(t, putFunc(func(_ context.Context, r *bridge.Record) error {
		order = append(order, "put "+r.Subject)
		r.Done(bridge.Stored{Sequence: 1})
		return nil
	}))
	fail := errors.New("the outcome cannot be stored")
	var answer error
	cfg.Observe = func(_ context.Context, status *codec.Status, callback codec.Callback) error {
		order = append(order, fmt.Sprintf("observe %s of %s, command %d", status.Status, callback.Ref, callback.Sequence))
		return answer
	}
	s := newSession(t, cfg)
	receive(t, s, &bridge.Inbound{Kind: bridge.KindStatus, Data: ours(t, "order-1", "")})
	receive(t, s, &bridge.Inbound{Kind: bridge.KindStatus, Data: []byte(statusOf)})
	answer = fail
	heard := new(acks)
	if err := s.Receive(t.Context(), &bridge.Inbound{Kind: bridge.KindStatus, Data: ours(t, "order-2", ""), Acker: heard}); !errors.Is(err, fail) {
		t.Errorf("got %v, want the observer's error", err)
	}
	want := []string{
		"observe delivered of order-1, command 42", "put wa.status.shop", "put wa.status.shop",
		"observe delivered of order-2, command 42",
	}
	if strings.Join(order, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(order, "\n"), strings.Join(want, "\n"))
	}
	if heard.len() != 0 {
		t.Error("the acker heard of what was not taken")
	}
}

// old is a message of the given age on a platform that numbers nothing.
func old(n int, age time.Duration) *bridge.Inbound {
	in := numbered("", n)
	in.Sequence = 0
	in.Data = fmt.Appendf(nil, `{"message":{"from":"15550142233","id":"wamid.%d","timestamp":"%d","type":"text"}}`, n, time.Now().Add(-age).Unix())
	return in
}

func TestBeyondTheDuplicatesWindow(t *testing.T) {
	store := new(memory)
	cfg := config(t, store)
	var asked []string
	var answer error
	cfg.Found = findFunc(func(_ context.Context, id string, since time.Time, msgID string) (bool, error) {
		asked = append(asked, msgID)
		if id != session || time.Since(since) < 3*time.Hour || time.Since(since) > 3*time.Hour+10*time.Minute {
			t.Errorf("asked for session %q since %s", id, since)
		}
		return msgID == "shop:wamid.2", answer
	})
	s := newSession(t, cfg)
	heard := new(acks)
	give := func(in *bridge.Inbound) error {
		in.Acker = heard
		return s.Receive(t.Context(), in)
	}
	first, second, third := old(1, time.Minute), old(2, 3*time.Hour), old(3, 3*time.Hour)
	for _, in := range []*bridge.Inbound{first, second, third} {
		if err := give(in); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(asked, " "); got != "shop:wamid.2 shop:wamid.3" {
		t.Errorf("asked for %s", got)
	}
	if len(store.records) != 2 || heard.len() != 0 {
		t.Fatalf("%d put, %d acked; want 2 put and none acked, since the first is not answered", len(store.records), heard.len())
	}
	store.answer(bridge.Stored{})
	store.answer(bridge.Stored{})
	if heard.len() != 3 || heard.ins[0] != first || heard.ins[1] != second || heard.ins[2] != third {
		t.Fatalf("acked out of order: %v", heard.ins)
	}
	if err := give(old(2, 3*time.Hour)); err != nil || heard.len() != 4 {
		t.Errorf("with nothing in flight: got %v, heard %d", err, heard.len())
	}
	answer = errors.New("JetStream is away")
	if err := give(old(4, 3*time.Hour)); !errors.Is(err, answer) || heard.len() != 4 {
		t.Errorf("got %v, want that it was not taken", err)
	}
	late := numbered("e1", 5)
	late.Data = old(5, 3*time.Hour).Data
	for _, in := range []*bridge.Inbound{late, {Kind: bridge.KindStatus, Data: []byte(strings.Replace(statusOf, "1795430005", "1600000000", 1))}} {
		if err := give(in); err != nil || len(asked) != 4 {
			t.Errorf("got %v; it was looked for: %v", err, asked)
		}
		store.answer(bridge.Stored{})
	}
}

func TestTooLargeKeepsItsPlace(t *testing.T) {
	var subjects, bodies []string
	cfg := config(t, putFunc(func(_ context.Context, r *bridge.Record) error {
		if len(r.Body) > 20<<10 {
			r.Done(bridge.Stored{Err: fmt.Errorf("putting: %w", bridge.ErrTooLarge)})
			return nil
		}
		subjects = append(subjects, r.Subject+" "+r.Header["Nats-Msg-Id"][0])
		bodies = append(bodies, string(r.Body))
		r.Done(bridge.Stored{Sequence: uint64(len(subjects))})
		return nil
	}))
	var object []byte
	cfg.Spill = spillFunc(func(_ context.Context, name string, r io.Reader) (string, error) {
		var err error
		object, err = io.ReadAll(r)
		return "kept/" + name, err
	})
	s := newSession(t, cfg)
	heard := new(acks)
	ins := []*bridge.Inbound{padded(1, 10), padded(2, 30<<10), padded(3, 17<<10), padded(4, 10)}
	for _, in := range ins {
		in.Acker = heard
		receive(t, s, in)
	}
	want := "wa.recv.shop shop:wamid.1, wa.recv.shop shop:wamid.2, wa.recv.shop shop:wamid.3, wa.recv.shop shop:wamid.4"
	if got := strings.Join(subjects, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if string(object) != string(ins[1].Data) {
		t.Error("the object is not the body")
	}
	if !strings.HasPrefix(bodies[1], `{"object":"kept/shop/`) || !strings.Contains(bodies[1], fmt.Sprintf(`"size":%d`, len(object))) {
		t.Errorf("got body %s", bodies[1])
	}
	for i, in := range ins {
		if heard.ins[i] != in || heard.errs[i] != nil {
			t.Errorf("ack %d: %v", i, heard.errs[i])
		}
	}
	cfg.Spill = spillFunc(func(context.Context, string, io.Reader) (string, error) { return "", io.ErrClosedPipe })
	if err := newSession(t, cfg).Receive(t.Context(), padded(5, 30<<10)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want that it was not taken", err)
	}
}

func TestLargeOneWhoseWaitEnds(t *testing.T) {
	store := new(memory)
	s := newSession(t, config(t, store))
	heard := new(acks)
	in := padded(1, 30<<10)
	in.Acker = heard
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Its turn and its context's end come at the same time: either may win.
	for len(store.records) == 0 {
		if err := s.Receive(ctx, in); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	next := padded(2, 10)
	next.Acker = heard
	receive(t, s, next)
	store.answer(bridge.Stored{})
	store.answer(bridge.Stored{})
	if heard.len() != 2 || heard.ins[0] != in || heard.errs[0] != nil {
		t.Errorf("heard %v, %v; want both stored", heard.ins, heard.errs)
	}
}

func TestManyAtOnce(t *testing.T) {
	var mu sync.Mutex
	queue := make(chan *bridge.Record, 64)
	var put []string
	var answering sync.WaitGroup
	answering.Go(func() {
		for r := range queue {
			r.Done(bridge.Stored{Sequence: 1})
		}
	})
	s := newSession(t, config(t, putFunc(func(_ context.Context, r *bridge.Record) error {
		mu.Lock()
		put = append(put, r.Header["Nats-Msg-Id"][0])
		mu.Unlock()
		queue <- r
		return nil
	})))
	heard := new(acks)
	const workers, each = 8, 200
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				in := old(w*each+i, 0)
				if i%50 == 0 {
					in.Data = padded(w*each+i, 20<<10).Data
				}
				in.Acker = heard
				if err := s.Receive(t.Context(), in); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(queue)
	answering.Wait()
	if len(put) != workers*each || heard.len() != workers*each {
		t.Fatalf("%d put, %d acked; want %d", len(put), heard.len(), workers*each)
	}
	for i, in := range heard.ins {
		if !strings.Contains(string(in.Data), `"`+strings.TrimPrefix(put[i], "shop:")+`"`) {
			t.Fatalf("ack %d is not of %s", i, put[i])
		}
	}
}
