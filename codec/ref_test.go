package codec

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRef(t *testing.T) {
	created := time.Unix(1795430000, 5)
	for _, c := range []struct {
		header map[string][]string
		want   string
		path   string
	}{
		{map[string][]string{"Wa-Ref": {"a b"}, "Nats-Msg-Id": {"n"}}, "a b", ""},
		{map[string][]string{"wa-ref": {"lower"}, "Nats-Msg-Id": {"n"}}, "lower", ""},
		{map[string][]string{"Nats-Msg-Id": {"n"}}, "n", ""},
		{map[string][]string{"Wa-Ref": {""}}, "WA_SEND:1795430000:17", ""},
		{map[string][]string{"Wa-Ref": {strings.Repeat("é", 128)}}, strings.Repeat("é", 128), ""},
		{map[string][]string{"Wa-Ref": {strings.Repeat("é", 129)}}, "", "Wa-Ref"},
		{map[string][]string{"Nats-Msg-Id": {"a\tb"}}, "", "Nats-Msg-Id"},
		{map[string][]string{"Nats-Msg-Id": {"a\xff"}}, "", "Nats-Msg-Id"},
	} {
		got, err := Ref(c.header, "WA_SEND", created, 17)
		e, _ := errors.AsType[*InvalidError](err)
		if got != c.want || (err != nil) != (c.path != "") || e != nil && e.Path != c.path {
			t.Errorf("%v: %q, %v", c.header, got, err)
		}
	}
}

func TestDeadline(t *testing.T) {
	want := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if got, err := Deadline(map[string][]string{"Wa-Deadline": {"2026-11-23T13:00:00+01:00"}}); err != nil || !got.Equal(want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Deadline(nil); err != nil || !got.IsZero() {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Deadline(map[string][]string{"Wa-Deadline": {"tomorrow"}}); err == nil || strings.Contains(err.Error(), "tomorrow") {
		t.Error(err)
	}
}
