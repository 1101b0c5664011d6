package chatapi

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/codec"
)

func TestSeconds(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"5": 5 * time.Second, " 2.5 ": 2500 * time.Millisecond, "99999999999": longestWait, "Inf": longestWait,
		"": 0, "soon": 0, "-1": 0, "0": 0, "NaN": 0,
	} {
		if got := seconds(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	now := time.Unix(1795435200, 0)
	if got := retryAfter(now.Add(90*time.Second).UTC().Format(http.TimeFormat), now); got != 90*time.Second {
		t.Errorf("a date: %v", got)
	}
	if got := retryAfter(now.Add(-time.Hour).UTC().Format(http.TimeFormat), now); got != 0 {
		t.Errorf("a date in the past: %v", got)
	}
}

func TestBackoff(t *testing.T) {
	var full backoff
	spread := func() time.Duration { return full.spread(250*time.Millisecond, 30*time.Second) }
	for _, bound := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second} {
		if got := spread(); got < 0 || got > bound {
			t.Errorf("waits %v, at most %v", got, bound)
		}
	}
	longest := time.Duration(0)
	for range 1000 {
		longest = max(longest, spread())
	}
	if longest > 30*time.Second || longest < 15*time.Second {
		t.Errorf("the longest of 1,000 waits is %v", longest)
	}
	full.reset()
	if got := spread(); got > 250*time.Millisecond {
		t.Errorf("waits %v after a reset", got)
	}
	var slow backoff
	for _, least := range []time.Duration{30, 60, 120, 240, 300, 300} {
		if got := slow.wait(30*time.Second, 5*time.Minute); got < least*time.Second || got > least*time.Second*11/10 {
			t.Errorf("waits %v, at least %v", got, least*time.Second)
		}
	}
}

// FuzzWaits feeds what a platform writes into close reasons and Retry-After.
func FuzzWaits(f *testing.F) {
	for _, s := range []string{"5", "1e9", "-3", "NaN", "0x10", "Mon, 02 Jan 2006 15:04:05 GMT", "30; please"} {
		f.Add(4429, s)
	}
	f.Add(4401, "token")
	f.Fuzz(func(t *testing.T, code int, text string) {
		now := time.Unix(1795435200, 0)
		for _, wait := range []time.Duration{seconds(text), retryAfter(text, now)} {
			if wait < 0 || wait > longestWait {
				t.Errorf("%q: %v", text, wait)
			}
		}
		fault := readFault(&websocket.CloseError{Code: code, Text: text})
		if fault.wait < 0 || fault.wait > longestWait {
			t.Errorf("close %d %q: %v", code, text, fault.wait)
		}
		if len(text) > 12 && strings.Contains(fault.Error(), text) {
			t.Errorf("%v quotes the platform", fault)
		}
	})
}

// FuzzFrame feeds frames: a sequence that is found is one that codec would
// write, and a reader of any shape gives the bytes back or says too large.
func FuzzFrame(f *testing.F) {
	f.Add([]byte(messageFrame(7, "whatsapp.message.text", `{}`)))
	f.Add([]byte(`{"data":{"sequence":"1"},"sequence":"00000000000000000002"`))
	f.Add([]byte(`{"sequence":5}`))
	f.Add([]byte(`["sequence","1"]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		found := findSequence(raw)
		if found > 0 {
			if event, err := codec.ParseEvent(raw); err == nil {
				if want, err := codec.ParseSequence(event.Sequence); err == nil && want != found {
					t.Errorf("found %d, codec %d in %q", found, want, raw)
				}
			}
		}
		if got, err := fill(nil, bytes.NewReader(raw)); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("read %d of %d bytes: %v", len(got), len(raw), err)
		}
	})
}
