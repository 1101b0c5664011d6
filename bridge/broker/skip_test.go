package broker

import (
	"maps"
	"testing"

	"wabridge/bridge/bridgetest"
)

func TestAConsumerSkipsWhatItsOwnerHasElsewhere(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s, func(c *Config) { c.Shards = 1 })
	js := s.JetStream(t)
	send(t, js, "quiet", 0, 2)  // 1, 2
	send(t, js, "loud", 0, 500) // 3 to 502
	send(t, js, "quiet", 2, 1)  // 503
	var got collector
	c, err := b.Consume(t.Context(), 0, got.take)
	if err != nil {
		t.Fatal(err)
	}
	got.await(t, 503)
	stop(t, c)

	end, last, err := b.LastSends(t.Context(), 0)
	if want := map[string]uint64{"quiet": 503, "loud": 502}; err != nil || end != 503 || !maps.Equal(last, want) {
		t.Fatalf("the last commands are %v of %d (%v), want %v of 503", last, end, err, want)
	}
	send(t, js, "quiet", 3, 1) // 504
	if err := b.SkipSend(t.Context(), 0, end); err != nil {
		t.Fatal(err)
	}
	if floor, err := b.AckFloor(t.Context(), 0); err != nil || floor != end {
		t.Errorf("the floor is %d (%v), want %d", floor, err, end)
	}
	var after collector
	c, err = b.Consume(t.Context(), 0, after.take)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	if d := after.await(t, 1)[0]; d.Sequence != 504 || d.Redelivered || d.Pending != 0 {
		t.Errorf("what comes first is %d (redelivered: %t, pending: %d), want 504 as new", d.Sequence, d.Redelivered, d.Pending)
	}
}
