package cloudapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

func TestUsageHoldsTheSession(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t), func(c *Config) { c.Window = 8 })
	s.host.state(t, bridge.Connected)
	header := func(percent, minutes int) []string {
		return []string{"X-Business-Use-Case-Usage", fmt.Sprintf(
			`{"1":[{"type":"whatsapp","call_count":%d,"estimated_time_to_regain_access":%d}]}`, percent, minutes)}
	}
	ok := corpus(t, "response/send_ok.json")
	for _, step := range []struct{ percent, minutes, window int }{{50, 0, 8}, {95, 0, 2}, {40, 0, 8}, {100, 19, 0}} {
		server.answer(t, "POST messages", 200, ok, header(step.percent, step.minutes)...)
		if got := s.send(t, textBody); got.Class != codec.Accepted {
			t.Fatalf("got %+v", got)
		}
		if got := s.Window(); got != step.window {
			t.Errorf("at %d %% the window is %d, want %d", step.percent, got, step.window)
		}
	}
	if left := time.Until(time.Unix(0, s.held.Load())); left < 18*time.Minute || left > 19*time.Minute {
		t.Errorf("held for %v", left)
	}
}

func TestHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &Graph{token: nil}
		h := newHost()
		s := &Session{graph: server, host: h, log: quiet(), spawn: func() {}}
		s.window.Store(4)
		s.open.Store(true)
		s.used(usage{percent: 100})
		if s.Window() != 0 {
			t.Error("not held")
		}
		time.Sleep(holdLess + time.Millisecond) //nolint:forbidigo // synctest's clock
		synctest.Wait()
		if len(h.wakes) != 1 {
			t.Errorf("%d wakes", len(h.wakes))
		}
		s.used(usage{percent: 10})
		if s.Window() != 4 {
			t.Errorf("window %d", s.Window())
		}
	})
}

func TestThrottledTakesTheWaitOfTheUsageHeader(t *testing.T) {
	server := newGraphServer(t)
	s := start(t, server.client(t))
	s.host.state(t, bridge.Connected)
	server.answer(t, "POST messages", 429, corpus(t, "error/e80007_waba_rate.json"), "X-Business-Use-Case-Usage",
		`{"1":[{"type":"whatsapp","call_count":101,"estimated_time_to_regain_access":5}]}`)
	got := s.send(t, textBody)
	if got.Class != codec.Throttled || got.Scope != codec.ScopeApp || got.Wait != 5*time.Minute {
		t.Errorf("got %+v", got)
	}
}

func TestReadUsage(t *testing.T) {
	var example map[string]string
	if err := json.Unmarshal(corpus(t, "response/headers_usage.json"), &example); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, app, business string
		want                usage
	}{
		{"example", example["x-app-usage"], example["x-business-use-case-usage"], usage{95, 19 * time.Minute}},
		{"none", "", "", usage{}},
		{"app only", `{"call_count":91}`, "", usage{percent: 91}},
		{"management does not count", "", `{"1":[{"type":"whatsapp_business_management","call_count":100}]}`, usage{}},
		{"broken", `{`, `[]`, usage{}},
		{"absurd", `{"call_count":1e300}`, `{"1":[{"type":"whatsapp","call_count":-5,"estimated_time_to_regain_access":1e300}]}`, usage{1000, holdMost}},
	}
	for _, test := range tests {
		h := http.Header{}
		h.Set("X-App-Usage", test.app)
		h.Set("X-Business-Use-Case-Usage", test.business)
		if got := readUsage(h); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func FuzzUsage(f *testing.F) {
	f.Add(`{"call_count":28,"total_time":25,"total_cputime":25}`, `{"7":[{"type":"whatsapp","call_count":95,"estimated_time_to_regain_access":19}]}`)
	f.Add(`{"call_count":1e999}`, `{"":[null]}`)
	f.Fuzz(func(t *testing.T, app, business string) {
		u := readUsage(http.Header{"X-App-Usage": {app}, "X-Business-Use-Case-Usage": {business}})
		if u.percent < 0 || u.percent > 1000 || u.regain < 0 || u.hold() < 0 || u.hold() > holdMost {
			t.Errorf("%+v holds for %v", u, u.hold())
		}
	})
}
