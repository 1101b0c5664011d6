package outbound

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// TestEveryAnswer goes through the classes that a send can come to.
func TestEveryAnswer(t *testing.T) {
	graph := &codec.Error{Code: 131026, Title: "undeliverable", Detail: "not on WhatsApp"}
	for _, test := range []struct {
		name   string
		first  []answer // then accepted
		ledger bool
		policy bridge.Policy
		within time.Duration
		word   string
		settle string // how the settlement begins
		dead   bool
		sends  int
		least  time.Duration // until it was settled
	}{
		{name: "accepted", word: "accepted", settle: "ack", sends: 1},
		{
			name: "permanent", first: []answer{{result: bridge.Result{Class: codec.Permanent, Error: graph}}},
			word: "rejected", settle: "rejected: permanent 131026", dead: true, sends: 1,
		},
		{
			name: "invalid at the platform", first: []answer{{result: bridge.Result{Class: codec.Invalid, Reason: "too long"}}},
			word: "rejected", settle: "rejected: invalid", dead: true, sends: 1,
		},
		{
			name:  "throttled in its lane",
			first: []answer{{result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeLane}}, {result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeLane}}},
			word:  "accepted", settle: "ack", sends: 3, within: 10 * time.Second, least: 5 * time.Second, // 4^0 + 4^1
		},
		{
			name:  "throttled in its session",
			first: []answer{{result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeSession, Wait: 7 * time.Second}}},
			word:  "accepted", settle: "ack", sends: 2, within: 10 * time.Second, least: 7 * time.Second,
		},
		{
			name:  "throttled in its app",
			first: []answer{{result: bridge.Result{Class: codec.Throttled, Scope: codec.ScopeApp, Wait: 3 * time.Second}}},
			word:  "accepted", settle: "ack", sends: 2, within: 5 * time.Second, least: 3 * time.Second,
		},
		{
			name:  "transient",
			first: []answer{{result: bridge.Result{Class: codec.Transient}}, {result: bridge.Result{Class: codec.Transient, Wait: 2 * time.Second}}},
			word:  "accepted", settle: "ack", sends: 3, within: 10 * time.Second, least: 2 * time.Second,
		},
		{
			name: "transient with three tries",
			first: []answer{
				{result: bridge.Result{Class: codec.Transient, Tries: 3}},
				{result: bridge.Result{Class: codec.Transient, Tries: 3}},
				{result: bridge.Result{Class: codec.Transient, Tries: 3}},
			},
			word: "rejected", settle: "rejected: transient", dead: true, sends: 3, within: 10 * time.Second,
		},
		{
			name: "unauthorized", first: []answer{{result: bridge.Result{Class: codec.Unauthorized}}},
			word: "accepted", settle: "ack", sends: 2, within: 10 * time.Second,
		},
		{
			name: "forbidden", first: []answer{{result: bridge.Result{Class: codec.Denied}}},
			word: "accepted", settle: "ack", sends: 2, within: 10 * time.Second,
		},
		{
			name: "unknown on an idempotent platform", first: []answer{{result: bridge.Result{Class: codec.Unknown}, takes: true}},
			word: "accepted", settle: "ack", sends: 2, within: time.Second,
		},
		{
			name: "unknown, reported", ledger: true, first: []answer{{result: bridge.Result{Class: codec.Unknown}, takes: true}},
			word: "unknown", settle: "unknown: unknown", dead: true, sends: 1, within: 70 * time.Second, least: time.Minute,
		},
		{
			name: "unknown, sent again", ledger: true, policy: bridge.Resend, first: []answer{{result: bridge.Result{Class: codec.Unknown}}},
			word: "accepted", settle: "ack", sends: 2, within: 70 * time.Second, least: time.Minute,
		},
		{
			name: "transient with a ledger", ledger: true, first: []answer{{result: bridge.Result{Class: codec.Transient}}},
			word: "accepted", settle: "ack", sends: 2, within: 5 * time.Second,
		},
		{
			name: "no class at all", first: []answer{{}},
			word: "accepted", settle: "ack", sends: 2, within: time.Second,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(w *world) {
				if test.ledger {
					w.useLedger()
				}
				w.configure = func(c *Config) { c.Policy = test.policy }
				w.platform.answer = func(_ *bridge.Outgoing, nth int) answer {
					if nth <= len(test.first) {
						return test.first[nth-1]
					}
					return accept()
				}
			}, func(w *world) {
				w.publish("15550142233", 2)
				w.deliver(1)
				begun := time.Now()
				synctest.Wait()
				for end := begun.Add(test.within); w.word(1) == "" && time.Now().Before(end); {
					w.sweep(100 * time.Millisecond)
				}
				if took := time.Since(begun); took < test.least {
					t.Errorf("settled after %v, before %v", took, test.least)
				}
				if got := w.word(1); got != test.word {
					t.Errorf("outcome %q, want %q", got, test.word)
				}
				if got := w.settlement(1); !strings.HasPrefix(got, test.settle) || got == "" {
					t.Errorf("settled by %q, want %q", got, test.settle)
				}
				if got := w.deadLetter(1) != nil; got != test.dead {
					t.Errorf("dead letter: %v, want %v", got, test.dead)
				}
				if got := w.platform.sendsOf("cmd-1"); got != test.sends {
					t.Errorf("sent %d times, want %d", got, test.sends)
				}
				w.deliver(1)
				synctest.Wait()
				if got := w.word(2); got != codec.StatusAccepted {
					t.Errorf("the next command came to %q", got)
				}
			})
		})
	}
}

func TestInvalidCommandsHoldNothingUp(t *testing.T) {
	run(t, nil, func(w *world) {
		bodies := []string{
			`not json`, `{"type":"text","text":{"body":"hi"}}`, `{"to":"+1","type":"text"}`, ``,
			`{"to":"+15550142233","type":"text","text":{"body":"` + strings.Repeat("a", 4097) + `"}}`,
		}
		for _, body := range bodies {
			w.publishRaw(body, nil)
		}
		w.publishRaw(`{"to":"+15550142233","text":"hi"}`, map[string][]string{"Wa-Ref": {"bad\x01ref"}})
		w.publishRaw(`{"to":"+15550142233","text":"hi"}`, map[string][]string{"Wa-Deadline": {"tomorrow"}})
		w.publishRaw(`{"to":"+15550142233","text":"hi","biz_opaque_callback_data":"`+strings.Repeat("x", 500)+`"}`, nil)
		bad := len(w.send)
		good := w.publishWith("15550142233", nil)
		w.deliverAll()
		synctest.Wait()
		for sequence := uint64(1); sequence <= uint64(bad); sequence++ {
			reports := w.outcomes(sequence)
			if len(reports) != 1 || reports[0].Status != codec.StatusRejected || reports[0].Error == nil ||
				reports[0].Error.Class != codec.Invalid || reports[0].Error.Detail == "" {
				t.Errorf("%d: outcomes %+v", sequence, reports)
			}
			letter := w.deadLetter(sequence)
			if letter == nil {
				t.Fatalf("%d has no dead letter", sequence)
			}
			if got, want := string(letter.Body), string(w.send[sequence-1].Body); got != want {
				t.Errorf("%d: dead letter's body is %q, want %q", sequence, got, want)
			}
			if got := letter.Header["Wa-Dead-Reason"][0]; !strings.HasPrefix(got, "rejected: invalid command: ") {
				t.Errorf("%d: reason %q", sequence, got)
			}
			if got := w.settlement(sequence); got != "rejected: invalid" {
				t.Errorf("%d: settled by %q", sequence, got)
			}
		}
		if got := w.word(good); got != codec.StatusAccepted {
			t.Errorf("the good command came to %q", got)
		}
	})
}

func TestStandingOutcomeDecides(t *testing.T) {
	for _, standing := range []string{codec.StatusAccepted, codec.StatusRejected, codec.StatusExpired, codec.StatusUnknown} {
		t.Run(standing, func(t *testing.T) {
			run(t, nil, func(w *world) {
				report := codec.Report{Ref: "cmd-1", Status: standing, At: time.Now()}
				want := "ack"
				if standing != codec.StatusAccepted {
					report.Error = &codec.ReportError{Class: codec.Permanent, Code: 7, Title: "before"}
					want = standing + ": permanent 7"
				}
				w.mu.Lock()
				w.records = append(w.records, &bridge.Record{Header: map[string][]string{"Nats-Msg-Id": {"shop:1:outcome"}}, Body: report.Append(nil)})
				w.ids["shop:1:outcome"] = 1
				w.mu.Unlock()
				w.publish("15550142233", 1)
				w.deliverAll()
				synctest.Wait()
				if got := w.word(1); got != standing {
					t.Errorf("outcomes %q, want %q", got, standing)
				}
				if got := w.settlement(1); got != want {
					t.Errorf("settled by %q, want %q", got, want)
				}
				if got := w.deadLetter(1) != nil; got != (standing != codec.StatusAccepted) {
					t.Errorf("dead letter: %v", got)
				}
			})
		})
	}
}

func TestDeadline(t *testing.T) {
	run(t, func(w *world) { w.platform.window = 0 }, func(w *world) {
		soon := time.Now().Add(3 * time.Second).Format(time.RFC3339)
		late := w.publishWith("15550142233", map[string][]string{"Wa-Deadline": {soon}})
		other := w.publishWith("15550142233", nil)
		written := w.publishWith("15550142244", map[string][]string{"Wa-Deadline": {soon}})
		w.deliver(2)
		w.redeliver(written) // another process may have sent it
		w.sweep(4 * time.Second)
		if got := w.word(late); got != codec.StatusExpired {
			t.Errorf("outcome %q, want expired", got)
		}
		if got := w.settlement(late); got != "expired: expired" {
			t.Errorf("settled by %q", got)
		}
		if w.deadLetter(late) == nil {
			t.Error("no dead letter")
		}
		w.platform.setWindow(8)
		w.session.Wake()
		synctest.Wait()
		if got := w.word(other); got != codec.StatusAccepted {
			t.Errorf("the command without a deadline came to %q", got)
		}
		if got := w.word(written); got != codec.StatusUnknown {
			t.Errorf("the command that may have been written came to %q", got)
		}
		if got := w.platform.arrivals("15550142233"); len(got) != 1 || got[0] != "cmd-2" {
			t.Errorf("arrived %v", got)
		}
	})
}

func TestMaxAge(t *testing.T) {
	run(t, func(w *world) {
		w.platform.window = 0
		w.configure = func(c *Config) { c.MaxAge = 10 * time.Minute }
	}, func(w *world) {
		w.publish("15550142233", 2)
		w.deliverAll()
		elapse(8 * time.Minute)
		w.sweep(2 * time.Second) // by now in the backlog
		w.publish("15550142233", 1)
		w.deliverAll()
		w.sweep(time.Minute)
		for sequence, want := range []string{"expired", "expired", ""} {
			if got := w.word(uint64(sequence + 1)); got != want {
				t.Errorf("outcome of %d is %q, want %q", sequence+1, got, want)
			}
		}
		w.platform.setWindow(8)
		w.session.Wake()
		w.sweep(time.Second)
		if got := w.word(3); got != codec.StatusAccepted {
			t.Errorf("outcome of 3 is %q", got)
		}
	})
}

func TestUnauthorizedKeepsOrder(t *testing.T) {
	refuse := true
	run(t, func(w *world) {
		w.platform.answer = func(*bridge.Outgoing, int) answer {
			if refuse {
				w.platform.window = 0
				return answer{result: bridge.Result{Class: codec.Unauthorized}}
			}
			return accept()
		}
	}, func(w *world) {
		w.publish("15550142233", 3)
		w.deliverAll()
		w.sweep(20 * time.Minute)
		if got := w.platform.sendCount(); got != 1 {
			t.Errorf("sent %d times while refused", got)
		}
		refuse = false
		w.platform.setWindow(8)
		w.session.Wake()
		w.sweep(time.Second)
		if got := strings.Join(w.platform.arrivals(""), " "); got != "cmd-1 cmd-2 cmd-3" {
			t.Errorf("arrived %q", got)
		}
	})
}

func TestTooLargeDeadLetterIsCut(t *testing.T) {
	run(t, func(w *world) {
		w.configure = func(c *Config) {
			inner := c.Store
			c.Store = storeFunc(func(ctx context.Context, r *bridge.Record) error {
				if strings.HasPrefix(r.Subject, "wa.dead.") && len(r.Body) > cutLimit {
					r.Done(bridge.Stored{Err: bridge.ErrTooLarge})
					return nil
				}
				return inner.Put(ctx, r)
			})
		}
	}, func(w *world) {
		sequence := w.publishRaw(strings.Repeat("x", 1<<20), nil)
		w.deliverAll()
		synctest.Wait()
		letter := w.deadLetter(sequence)
		if letter == nil {
			t.Fatal("no dead letter")
		}
		if len(letter.Body) != cutLimit || letter.Header["Wa-Dead-Size"][0] != "1048576" || len(letter.Header["Wa-Dead-Sha256"][0]) != 64 {
			t.Errorf("body of %d, headers %v", len(letter.Body), letter.Header)
		}
		if got := w.settlement(sequence); got != "rejected: invalid" {
			t.Errorf("settled by %q", got)
		}
	})
}
