package main

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzUnknown feeds names and values of an environment: no value may be
// printed, and a warning is one line.
func FuzzUnknown(f *testing.F) {
	for _, kv := range []string{"NATS_ULR=swordfish", "PORT_8088_TCP=tcp://10.0.0.1:8088", "WEBHOOK_PORT=8089", "=", "\x1b[2J=x", strings.Repeat("A", 300) + "=x"} {
		f.Add(kv)
	}
	list, err := knownNames(globalVariables())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kv string) {
		_, value, _ := strings.Cut(kv, "=")
		for _, w := range unknown([]string{prefix + "_" + kv}, list) {
			if strings.ContainsFunc(w, unicode.IsControl) {
				t.Errorf("control characters in %q", w)
			}
			if len(value) > 8 && strings.Contains(strings.ReplaceAll(w, strings.SplitN(kv, "=", 2)[0], ""), value) && !strings.Contains(strings.Join(list, " "), value) &&
				!strings.Contains(`" is not a variable of wabridge and is ignored; did you mean is its session in WABRIDGE_SESSIONS?`, value) {
				t.Errorf("%q prints the value", w)
			}
		}
	})
}

// FuzzPrintable: whatever strangers write, a terminal is not steered by it.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"hello", "\x1b[2J", `"quoted" \ back`, "👍\u202e", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is printed as %q", s, got)
		}
		if short := clip(got, 20); utf8.RuneCountInString(short) > 20 {
			t.Errorf("%q is not clipped", short)
		}
	})
}
