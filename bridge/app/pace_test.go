package app

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Ten thousand sessions connect within ten seconds, and not all at once; a host
// that does not answer keeps no other waiting.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		begun := time.Now()
		silent := p.turn("wss://silent.example/v1/{session}")
		for range connecting {
			if _, err := silent(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		turn := p.turn("wss://chat.example/v1/{session}")
		for range 10_000 {
			over, err := turn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			over()
		}
		if took := time.Since(begun); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := silent(ctx); err == nil {
			t.Errorf("more than %d are on their way", connecting)
		}
	})
}
