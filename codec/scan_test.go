package codec

import (
	"encoding/json"
	"strings"
	"testing"
)

func scannerCases() []string {
	return []string{
		``, ` `, `{}`, `[]`, `[[]]`, `{"a":{}}`, ` { "a" : [ 1 , 2 ] } `, `{"a":1,"a":2}`, `{"\u0061":1}`,
		`{"a":1,}`, `[1,]`, `{,}`, `[,]`, `{"a"}`, `{"a":}`, `{1:2}`, `{"a":1 "b":2}`, `{"a":1}}`, `{"a":1}x`,
		`0`, `-0`, `01`, `-`, `1.`, `.1`, `1.5e`, `1.5e+`, `1e5`, `1E-05`, `9007199254740993`, `+1`, `0x1`, `NaN`,
		`true`, `tru`, `truex`, `false`, `null`, `nul`,
		`"a"`, `"`, `"a`, `"\"`, `"\\"`, `"\/\b\f\n\r\t\""`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u00e9"`, `"\ud83d\ude00"`,
		`"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\ude00\ud83d"`, "\"\x00\"", "\"a\nb\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\"",
		"\"\xed\xa0\x80\"", "\"é\xffé\"", "\ufeff{}",
		`"twelve bytes"`, `"eight by\n"`, "\"sixteen bytes ...\x01\"",
		strings.Repeat("[", 10000) + strings.Repeat("]", 10000),
		strings.Repeat("[", 10001) + strings.Repeat("]", 10001),
		strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat("}", 10000),
		strings.Repeat(`{"a":`, 10001) + "1" + strings.Repeat("}", 10001),
	}
}

// The scanner takes exactly what encoding/json takes, and reads it alike.
func TestIndexAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range scannerCases() {
		d, err := index([]byte(text), 2, nil)
		if (err == nil) != json.Valid([]byte(text)) {
			t.Errorf("%.40q: %v", text, err)
		}
		if err == nil {
			compareWithJSON(t, &d, []byte(text))
		}
	}
}

func TestIndexNamesTheOffset(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":x}`:    "not JSON: wrong at byte 5",
		`{"a":1}  ]`: "not JSON: wrong at byte 9",
		`{"a`:        "not JSON: wrong at byte 3",
	} {
		if _, err := index([]byte(text), 1, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// Every control character and every place in a word of eight bytes.
func TestSkipPlain(t *testing.T) {
	for at := range 24 {
		for c := range 256 {
			text := []byte(strings.Repeat("é", 12))
			text[at] = byte(c)
			want := at
			if c >= ' ' && c != '"' && c != '\\' {
				want = len(text)
			}
			if got := skipPlain(text, 0); got != want {
				t.Fatalf("byte %#x at %d: stops at %d", c, at, got)
			}
		}
	}
}

func TestAppendStringReadsBack(t *testing.T) {
	for _, s := range []string{"", "plain", "q\"\\/", "\x00\x1f\n\r\t\x7f", "é😀\u2028", "<>&", "bad\xffutf8", "\xed\xa0\x80"} {
		out := appendString(nil, s)
		var got string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		want := string([]rune(s)) // each bad byte becomes U+FFFD
		if got != want {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestMoment(t *testing.T) {
	for text, want := range map[string]int64{
		`"1795430000"`:    1795430000000,
		`1795430000`:      1795430000000,
		`"1795430000123"`: 1795430000123,
		`1795430000123`:   1795430000123,
		`"x"`:             -62135596800000, // none: the zero time
		`-5`:              -62135596800000,
		`1e5`:             -62135596800000,
		`{}`:              -62135596800000,
	} {
		d, err := index([]byte(text), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.moment(0).UnixMilli(); got != want {
			t.Errorf("%s is %d, want %d", text, got, want)
		}
	}
}
