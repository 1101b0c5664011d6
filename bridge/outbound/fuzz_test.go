package outbound

import "testing"

func FuzzCursor(f *testing.F) {
	for _, value := range []string{"", "7", "7 9", "7 18446744073709551615", "7  9", "-1", "7 9 1"} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		from, touched, err := ParseCursor(value)
		if err != nil {
			return
		}
		again, also, err := ParseCursor(formatCursor(from, touched))
		if err != nil || again != from || also != touched {
			t.Errorf("%q: %d %d, then %d %d, %v", value, from, touched, again, also, err)
		}
	})
}

func FuzzHeaderText(f *testing.F) {
	for _, text := range []string{"", "one line", "two\r\nlines", "\x00", "é\u2028", string([]byte{0xff, 0xfe})} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := headerText(text)
		if len(got) > textLimit {
			t.Errorf("%d bytes", len(got))
		}
		for _, r := range got {
			if r < ' ' || r == 0x7f {
				t.Errorf("%q holds a control character", got)
			}
		}
	})
}
