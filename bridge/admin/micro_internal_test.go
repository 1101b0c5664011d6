package admin

import (
	"errors"
	"testing"
)

func TestSemver(t *testing.T) {
	for in, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3": "1.2.3", "v1.2.3-0.20261128-abc": "1.2.3", "": "0.0.0", "(devel)": "0.0.0", "v1.2": "0.0.0", "v01.2.3": "0.0.0",
	} {
		if got := semver(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func FuzzLetter(f *testing.F) {
	for _, seed := range []string{"17", ` {"sequence": 17}`, `{"sequence":"17"}`, "0", "-1", "{", "", "99999999999999999999"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := letterOf(body)
		if (n == 0) != (err != nil) || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %d, %v", body, n, err)
		}
	})
}
