package broker

import (
	"context"
	"testing"

	"wabridge/bridge/bridgetest"
)

// A server of a cluster may not know yet of a bucket that another one has made:
// opening it waits for that.
func TestOpeningWaitsForWhatEnsureHasMade(t *testing.T) {
	s := bridgetest.NATS(t)
	b := open(t, s)
	js := s.JetStream(t)
	for stream, opening := range map[string]func(context.Context) error{
		"OBJ_wa_media": func(ctx context.Context) error { _, err := b.Media(ctx); return err },
		"KV_wa_state":  func(ctx context.Context) error { _, err := b.KV(ctx, State); return err },
	} {
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			t.Fatal(err)
		}
		requests, err := js.Conn().SubscribeSync("$JS.API.STREAM.INFO." + stream)
		if err != nil {
			t.Fatal(err)
		}
		if err := js.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		opened := make(chan error, 1)
		go func() { opened <- opening(t.Context()) }()
		for range 2 { // the second says that the first has failed
			if _, err := requests.NextMsg(long); err != nil {
				t.Fatalf("%s: %v", stream, err)
			}
		}
		if err := b.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-opened; err != nil {
			t.Errorf("%s: %v", stream, err)
		}
	}
}
