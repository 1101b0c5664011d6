package codec

import (
	"testing"
	"time"
)

func TestClassWords(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Classes() {
		if c.String() == "" || seen[c.String()] || parseClass(c.String()) != c {
			t.Errorf("class %d is %q", c, c)
		}
		seen[c.String()] = true
	}
	if len(seen) != int(Unknown) || Class(0).String() != "" || parseClass("other") != 0 {
		t.Errorf("classes are %v", Classes())
	}
	for s, want := range map[Scope]string{
		ScopeMessage: "message", ScopeLane: "lane", ScopeSession: "session", ScopeApp: "app", 9: "",
	} {
		if s.String() != want {
			t.Errorf("scope %d is %q", s, s)
		}
	}
}

// Meta's whole table of codes, a row each.
func TestClassifyTable(t *testing.T) {
	var (
		refused = Rule{Class: Permanent}
		token   = Rule{Class: Unauthorized, Scope: ScopeSession}
		account = Rule{Class: Denied, Scope: ScopeSession}
		again   = Rule{Class: Transient}
		thrice  = Rule{Class: Transient, Tries: 3}
	)
	limit := func(s Scope, wait time.Duration) Rule { return Rule{Class: Throttled, Scope: s, Wait: wait} }
	for code, want := range map[int]Rule{
		0:       token,
		1:       thrice,
		2:       again,
		3:       account,
		4:       limit(ScopeApp, time.Minute),
		10:      account,
		17:      limit(ScopeApp, time.Minute),
		33:      account,
		100:     refused,
		102:     token,
		104:     token,
		190:     token,
		200:     account,
		210:     account,
		299:     account,
		368:     account,
		613:     limit(ScopeApp, time.Minute),
		80007:   limit(ScopeApp, time.Minute),
		130403:  refused,
		130429:  limit(ScopeSession, time.Second),
		130472:  refused,
		130497:  refused,
		131000:  thrice,
		131005:  account,
		131008:  refused,
		131009:  refused,
		131016:  again,
		131020:  refused,
		131021:  refused,
		131026:  refused,
		131030:  refused,
		131031:  account,
		131037:  account,
		131041:  refused,
		131042:  account,
		131045:  account,
		131047:  refused,
		131048:  limit(ScopeSession, 10*time.Minute),
		131049:  refused,
		131050:  refused,
		131051:  refused,
		131052:  refused,
		131053:  thrice,
		131055:  refused,
		131056:  {Class: Throttled, Scope: ScopeLane, Wait: time.Second, Grow: true},
		131057:  {Class: Transient, Scope: ScopeSession, Wait: 5 * time.Second},
		131060:  refused,
		131062:  refused,
		131063:  refused,
		131064:  limit(ScopeSession, time.Minute),
		131200:  refused,
		131299:  refused,
		132000:  refused,
		132001:  refused,
		132005:  refused,
		132007:  refused,
		132008:  refused,
		132012:  refused,
		132015:  refused,
		132016:  refused,
		132018:  refused,
		132068:  refused,
		132069:  limit(ScopeLane, 6*time.Minute),
		133000:  account,
		133004:  again,
		133005:  account,
		133006:  account,
		133008:  account,
		133009:  account,
		133010:  account,
		133015:  account,
		133016:  limit(ScopeSession, time.Hour),
		134011:  account,
		134100:  refused,
		134101:  {Class: Transient, Tries: 3, Wait: 10 * time.Minute},
		134102:  refused,
		135000:  refused,
		137000:  refused,
		138000:  refused,
		138006:  refused,
		139000:  refused,
		139999:  refused,
		147001:  refused,
		2388001: refused,
		2494100: refused,
		2593107: refused,
		2593108: refused,
		2593109: refused,
	} {
		// The code decides, whatever else the answer says.
		for _, e := range []Error{{Code: code}, {Code: code, Transient: true}} {
			for _, status := range []int{0, 200, 400, 401, 429, 500} {
				if got := Classify(&e, status); got != want {
					t.Errorf("%d with HTTP %d is %+v, want %+v", code, status, got, want)
				}
			}
		}
	}
	if got := Classify(&Error{Code: 100, Subcode: 33}, 400); got != account {
		t.Errorf("100 with subcode 33 is %+v", got)
	}
}

func TestClassifyUnknownCodes(t *testing.T) {
	for _, c := range []struct {
		e      *Error
		status int
		class  Class
		tries  int
	}{
		{&Error{Code: 999999, Transient: true}, 400, Transient, 0},
		{&Error{Code: 999999}, 500, Transient, 3},
		{&Error{Code: 999999}, 429, Throttled, 0},
		{&Error{Code: 999999}, 401, Unauthorized, 0},
		{&Error{Code: 999999}, 403, Denied, 0},
		{&Error{Code: 999999}, 400, Permanent, 0},
		{&Error{Code: 999999}, 200, Permanent, 0},
		{&Error{Code: 999999}, 0, Permanent, 0},
		{nil, 0, Unknown, 0},
		{nil, 200, Unknown, 0},
		{nil, 400, Permanent, 0},
		{nil, 401, Unauthorized, 0},
		{nil, 403, Denied, 0},
		{nil, 408, Unknown, 0},
		{nil, 429, Throttled, 0},
		{nil, 500, Unknown, 0},
		{nil, 503, Unknown, 0},
	} {
		if got := Classify(c.e, c.status); got.Class != c.class || got.Tries != c.tries {
			t.Errorf("%+v with HTTP %d is %+v, want %v", c.e, c.status, got, c.class)
		}
	}
}

func TestParseErrorShapes(t *testing.T) {
	for raw, want := range map[string]Error{
		`{"error":{"code":190,"error_subcode":463,"message":"m","type":"OAuthException","fbtrace_id":"t","is_transient":true}}`: {
			Code: 190, Subcode: 463, Title: "m", Message: "m", Type: "OAuthException", Trace: "t", Transient: true,
		},
		`{"code":131026,"title":"t","message":"m","error_data":{"details":"d"}}`: {Code: 131026, Title: "t", Message: "m", Detail: "d"},
		`{"code":"131026","title":"t","error_data":"d"}`:                         {Code: 131026, Title: "t", Detail: "d"},
		`{"code":0,"title":"t","details":"d"}`:                                   {Title: "t", Detail: "d"},
	} {
		got, err := ParseError([]byte(raw))
		if err != nil || *got != want {
			t.Errorf("%s is %+v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{``, `[]`, `{}`, `{"error":"x"}`, `{"error":{"message":"m"}}`, `{"code":1.5}`} {
		if got, err := ParseError([]byte(raw)); err == nil {
			t.Errorf("%s is %+v", raw, got)
		}
	}
}

func TestGoneMedia(t *testing.T) {
	for _, c := range []struct {
		code, subcode int
		kind          string
		want          bool
	}{
		{33, 0, "image", true},
		{100, 33, "template", true},
		{100, 0, "image", false},
		{100, 33, "text", false},
		{131053, 33, "image", false},
	} {
		if got := GoneMedia(&Error{Code: c.code, Subcode: c.subcode}, c.kind); got != c.want {
			t.Errorf("code %d, subcode %d, %s: %v", c.code, c.subcode, c.kind, got)
		}
	}
	if GoneMedia(nil, "image") {
		t.Error("no error at all")
	}
}
