package outbound

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wabridge/bridge"
	"wabridge/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is everything around a session: the streams, the buckets and a
// platform. A run of the session can be killed at any step: what it does from
// then on reaches nothing.
type world struct {
	t     testing.TB
	names bridge.Names

	mu        sync.Mutex
	send      []*bridge.Delivery // WA_SEND
	settled   map[uint64]string  // "ack", or the reason of a termination
	delivered int                // how many of send the consumer has delivered
	reached   int                // what that was at most in the runs before
	onRead    func()             // called for each read; nil: not
	records   []*bridge.Record
	ids       map[string]int
	progress  map[uint64]int
	platform  *phone
	cursors   *bucket
	ledger    *bucket
	run       int // which run of the session is alive
	budget    int // steps until it is killed; negative: never
	session   *Session
	least     int      // what the session may hold at any window, if not 0
	started   int      // the run that session is
	short     int      // how many commands a read gives at most
	handed    []uint64 // what the run before had settled
	early     []uint64 // statuses that came before their outcome
	configure func(*Config)
}

func newWorld(t testing.TB) *world {
	names, err := bridge.NewNames("wa")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, names: names, settled: map[uint64]string{}, ids: map[string]int{}, progress: map[uint64]int{},
		budget: -1, short: 5,
	}
	w.platform = &phone{w: w, window: 8, idempotent: true, taken: map[string]string{}, refused: map[string]bool{}}
	w.cursors = &bucket{w: w, values: map[string]bridge.Entry{}}
	return w
}

// useLedger makes the platform one that cannot tell repeats.
func (w *world) useLedger() {
	w.platform.idempotent = false
	w.ledger = &bucket{w: w, values: map[string]bridge.Entry{}}
}

// step is called before every effect of a run; false: the run is dead.
func (w *world) step(run int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run != w.run {
		return false
	}
	if w.budget == 0 {
		w.run++
		w.budget = -1
		return false
	}
	if w.budget > 0 {
		w.budget--
	}
	return true
}

func (w *world) alive(run int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return run == w.run
}

// start begins a new run and delivers again what is not settled, from the
// start, as a reset consumer does.
func (w *world) start() {
	w.mu.Lock()
	w.run++
	run := w.run
	w.reached = max(w.reached, w.delivered)
	w.started, w.delivered = run, 0
	handed := w.handed
	w.handed = nil
	w.mu.Unlock()
	w.platform.forgetRun()
	cfg := Config{
		Env: &Env{
			Names: w.names, Created: time.Unix(1, 0), Outcomes: outcomesFunc(w.outcome), Cursors: w.cursors.of(run),
			Reader: readerFunc(func(_ context.Context, _ string, from uint64, limit int) ([]*bridge.Delivery, error) {
				return w.read(from, limit)
			}),
		},
		Session: "shop", Settled: handed,
		Store: storeFunc(func(ctx context.Context, r *bridge.Record) error { return w.put(ctx, run, r) }),
	}
	if w.ledger != nil {
		cfg.Ledger = w.ledger.of(run)
	}
	if w.configure != nil {
		w.configure(&cfg)
	}
	may := cfg.May
	cfg.May = func() bool { return w.alive(run) && (may == nil || may()) }
	s, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.session = s
	if w.least > 0 {
		s.least = w.least
	}
	if err := s.SetPlatform(&connection{phone: w.platform, run: run}); err != nil {
		w.t.Fatal(err)
	}
	cursor, err := cfg.Cursors.Get(context.Background(), cfg.Session)
	if err != nil && !isNotFound(err) {
		w.t.Fatal(err)
	}
	if err := s.Start(cursor); err != nil {
		w.t.Fatal(err)
	}
}

// kill ends a run as a crash does.
func (w *world) kill() {
	w.mu.Lock()
	w.run++
	w.budget = -1
	w.mu.Unlock()
	w.stop()
}

// stop closes the session without waiting for anything.
func (w *world) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.session.Close(ctx) // what is in flight is lost with the crash
}

// publish stores commands in WA_SEND.
func (w *world) publish(to string, n int) {
	for range n {
		w.publishWith(to, nil)
	}
}

func (w *world) publishWith(to string, header map[string][]string) uint64 {
	body := fmt.Sprintf(`{"to":"+%s","type":"text","text":{"body":"hello"}}`, to)
	return w.publishRaw(body, header)
}

func (w *world) publishRaw(body string, header map[string][]string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	sequence := uint64(len(w.send) + 1)
	if header == nil {
		header = map[string][]string{}
	}
	if header["Nats-Msg-Id"] == nil {
		header["Nats-Msg-Id"] = []string{"cmd-" + strconv.FormatUint(sequence, 10)}
	}
	w.send = append(w.send, &bridge.Delivery{
		Session: "shop", Sequence: sequence, Stored: time.Now(), Header: header, Body: []byte(body),
	})
	return sequence
}

// deliver gives the session the next commands that the consumer has for it.
func (w *world) deliver(n int) {
	for range n {
		w.mu.Lock()
		for w.delivered < len(w.send) && w.settled[w.send[w.delivered].Sequence] != "" {
			w.delivered++
		}
		if w.delivered == len(w.send) {
			w.mu.Unlock()
			return
		}
		d := *w.send[w.delivered]
		w.delivered++
		run := w.run
		w.mu.Unlock()
		d.Settler = &settler{w: w, run: run, sequence: d.Sequence}
		w.session.Deliver(&d)
	}
}

func (w *world) deliverAll() { w.deliver(1 << 30) }

// redeliver gives the session one command again.
func (w *world) redeliver(sequence uint64) {
	w.mu.Lock()
	d := *w.send[sequence-1]
	run := w.run
	w.mu.Unlock()
	d.Redelivered = true
	d.Settler = &settler{w: w, run: run, sequence: sequence}
	w.session.Deliver(&d)
}

// ackWait gives the session again what it was given and has not settled.
func (w *world) ackWait() {
	for sequence := range uint64(len(w.send)) {
		if w.settlement(sequence+1) == "" {
			w.redeliver(sequence + 1)
		}
	}
}

func (w *world) put(ctx context.Context, run int, r *bridge.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !w.step(run) {
		return bridge.ErrClosed
	}
	id := r.Header["Nats-Msg-Id"][0]
	w.mu.Lock()
	sequence, duplicate := w.ids[id]
	if !duplicate {
		kept := *r
		kept.Header = maps.Clone(r.Header) // r's is another record's after Done
		w.records = append(w.records, &kept)
		sequence = len(w.records)
		w.ids[id] = sequence
	}
	w.mu.Unlock()
	stored := bridge.Stored{Sequence: uint64(sequence), Duplicate: duplicate}
	if !w.step(run) {
		stored = bridge.Stored{Err: bridge.ErrClosed}
	}
	if r.Done != nil {
		r.Done(stored)
	}
	return nil
}

func (w *world) outcome(_ context.Context, sequence uint64) (codec.Report, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sequence == 0 || sequence > uint64(len(w.records)) {
		return codec.Report{}, bridge.ErrNotFound
	}
	return codec.ParseReport(w.records[sequence-1].Body)
}

func (w *world) read(from uint64, limit int) ([]*bridge.Delivery, error) {
	defer elapse(time.Millisecond) // more is delivered meanwhile
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.onRead != nil {
		w.onRead()
	}
	var batch []*bridge.Delivery
	limit = min(limit, w.short) // large ones come in fewer
	for i, d := range w.send {
		if d.Sequence >= from && len(batch) < limit {
			clone := *d
			clone.Pending = uint64(len(w.send) - i - 1)
			batch = append(batch, &clone)
		}
	}
	return batch, nil
}

// outcomes lists the words stored for a command.
func (w *world) outcomes(sequence uint64) []codec.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	var reports []codec.Report
	id := "shop:" + strconv.FormatUint(sequence, 10) + ":outcome"
	for _, r := range w.records {
		if r.Header["Nats-Msg-Id"][0] == id {
			report, err := codec.ParseReport(r.Body)
			if err != nil {
				w.t.Errorf("outcome %d cannot be read: %v", sequence, err)
			}
			reports = append(reports, report)
		}
	}
	return reports
}

func (w *world) word(sequence uint64) string {
	reports := w.outcomes(sequence)
	words := make([]string, len(reports))
	for i := range reports {
		words[i] = reports[i].Status
	}
	return strings.Join(words, ",")
}

func (w *world) deadLetter(sequence uint64) *bridge.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.ids["shop:"+strconv.FormatUint(sequence, 10)+":dead"]
	if !ok {
		return nil
	}
	return w.records[at-1]
}

func (w *world) settlement(sequence uint64) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settled[sequence]
}

type settler struct {
	w        *world
	run      int
	sequence uint64
}

func (s *settler) Ack() error { return s.end("ack") }

func (s *settler) TermWithReason(reason string) error { return s.end(reason) }

func (s *settler) end(how string) error {
	if !s.w.step(s.run) {
		return bridge.ErrClosed
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.settled[s.sequence] = how
	return nil
}

func (s *settler) InProgress() error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.progress[s.sequence]++
	return nil
}

// run is a test in a bubble of its own time, with a running session.
func run(t *testing.T, prepare func(*world), f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if prepare != nil {
			prepare(w)
		}
		w.start()
		f(w)
		w.passedOver()
		w.stop()
		synctest.Wait()
		if s := w.session; len(s.commands) == 0 && s.bytes != 0 || s.bytes < 0 || s.settle != nil && s.settle.open < 0 {
			t.Errorf("the books hold %d commands of %d bytes, settling %+v", len(s.commands), s.bytes, s.settle)
		}
		for _, fault := range w.platform.faults {
			t.Error(fault)
		}
	})
}

func contextWithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func parseRef(ref string) (uint64, error) {
	return strconv.ParseUint(strings.TrimPrefix(ref, "cmd-"), 10, 64)
}

// elapse waits; in a bubble, for no time at all.
func elapse(d time.Duration) { <-time.After(d) }

// sweep lets time pass as the owner of the session sees it.
func (w *world) sweep(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		elapse(min(time.Second, time.Until(end)))
		w.passedOver()
		w.session.cfg.Sweep(time.Now())
		synctest.Wait()
	}
}

// passedOver says where a sweep passes over a session that has something to do.
func (w *world) passedOver() {
	s := w.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.active && !s.idle() {
		w.t.Errorf("passed over with %d commands, %d lanes, backlog %+v", len(s.commands), len(s.lanes), s.back)
	}
}

// throughKills has f go on with 40 commands, some of them delivered, until the
// run is killed, after each number of steps: then all are delivered again, and
// each has to come out accepted, in order. Least is what the session may hold.
func throughKills(t *testing.T, least, delivered int, f func(*world)) {
	t.Helper()
	for budget := range 120 {
		run(t, func(w *world) { w.least, w.platform.window = least, 2 }, func(w *world) {
			for i := range 40 {
				w.publish([]string{"15550142233", "15550142244"}[i%2], 1)
			}
			w.deliver(delivered)
			w.mu.Lock()
			w.budget = budget
			w.mu.Unlock()
			f(w)
			w.sweep(2 * time.Second)
			w.kill()
			w.start()
			w.deliverAll()
			w.drained(t)
			w.inOrder(t)
			for _, d := range w.send {
				if got := w.word(d.Sequence); got != codec.StatusAccepted {
					t.Errorf("killed after %d steps: %d came to %q", budget, d.Sequence, got)
				}
			}
		})
	}
}
