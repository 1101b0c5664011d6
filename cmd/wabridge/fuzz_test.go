package main

import (
	"slices"
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
		name, value, _ := strings.Cut(prefix+"_"+kv, "=")
		warnings := unknown([]string{name + "=" + value}, list)
		for _, w := range warnings {
			if strings.ContainsFunc(w, unicode.IsControl) {
				t.Errorf("control characters in %q", w)
			}
		}
		// What depends on nothing of a value prints nothing of it. Only an address
		// is looked at: orchestrators set NAME_PORT=tcp://….
		if other := unknown([]string{name + "=" + strings.Repeat("x", len(value))}, list); !strings.Contains(value, "://") && !slices.Equal(warnings, other) {
			t.Errorf("with another value %q reads %q", warnings, other)
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
