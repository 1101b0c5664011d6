package outbound

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/codec"
)

// TestAgainstJetStream runs a session on real streams: half of the commands are
// bad, and the session is replaced in the middle without a word.
func TestAgainstJetStream(t *testing.T) {
	js := bridgetest.NATS(t).JetStream(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, subject := range map[string]string{"WA_SEND": "wa.send.*", "WA_RECV": "wa.status.*", "WA_DEAD": "wa.dead.*"} {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Duplicates: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := js.CreateConsumer(ctx, "WA_SEND", jetstream.ConsumerConfig{
		Durable: "shop", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	const commands = 200
	for i := range commands {
		body := fmt.Sprintf(`{"to":"+1555014%04d","text":"hello"}`, i%7)
		if i%2 == 1 {
			body = "not json"
		}
		m := &nats.Msg{Subject: "wa.send.shop", Data: []byte(body), Header: nats.Header{"Nats-Msg-Id": {fmt.Sprint("cmd-", i+1)}}}
		if _, err := js.PublishMsg(ctx, m); err != nil {
			t.Fatal(err)
		}
	}

	w := newWorld(t)
	w.run = 1
	var mu sync.Mutex
	seen := 0
	for run := 1; run <= 2; run++ {
		s, err := New(Config{
			Session: "shop", Store: jetStore{js}, Env: &Env{
				Names: w.names, Created: time.Unix(1, 0),
				Outcomes: outcomesFunc(func(ctx context.Context, sequence uint64) (codec.Report, error) {
					stream, err := js.Stream(ctx, "WA_RECV")
					if err != nil {
						return codec.Report{}, err
					}
					m, err := stream.GetMsg(ctx, sequence)
					if err != nil {
						return codec.Report{}, err
					}
					return codec.ParseReport(m.Data)
				}),
				Reader:  readerFunc(func(context.Context, string, uint64, int) ([]*bridge.Delivery, error) { return nil, nil }),
				Cursors: w.cursors.of(1),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.platform.forgetRun()
		if err := s.SetPlatform(&connection{phone: w.platform, run: 1}); err != nil {
			t.Fatal(err)
		}
		consuming, err := consumer.Consume(func(m jetstream.Msg) {
			mu.Lock()
			seen++
			if run == 1 && seen > commands/2 {
				mu.Unlock()
				return // it died
			}
			mu.Unlock()
			meta, err := m.Metadata()
			if err != nil {
				t.Error(err)
				return
			}
			var settler bridge.Settler = m
			if run == 1 && meta.Sequence.Stream%5 == 0 {
				settler = deaf{} // its ack was lost with it
			}
			s.Deliver(&bridge.Delivery{
				Session: "shop", Sequence: meta.Sequence.Stream, Stored: meta.Timestamp,
				Redelivered: meta.NumDelivered > 1, Header: m.Headers(), Body: m.Data(), Settler: settler,
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		bridgetest.Eventually(t, 30*time.Second, func() bool {
			info, err := consumer.Info(ctx)
			if err != nil {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			if run == 1 {
				return seen >= commands/2
			}
			return info.NumAckPending == 0 && info.NumPending == 0
		}, "run", run, "ends")
		consuming.Stop()
		<-consuming.Closed()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	}

	for name, want := range map[string]uint64{"WA_RECV": commands, "WA_DEAD": commands / 2} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Msgs; got != want {
			t.Errorf("%s holds %d, want %d", name, got, want)
		}
	}
	if got := len(w.platform.arrivals("")); got != commands/2 {
		t.Errorf("%d arrived, want %d", got, commands/2)
	}
	for _, fault := range w.platform.faults {
		t.Error(fault)
	}
}

// jetStore stores one record after the other.
type jetStore struct{ js jetstream.JetStream }

func (s jetStore) Put(ctx context.Context, r *bridge.Record) error {
	ack, err := s.js.PublishMsg(ctx, &nats.Msg{Subject: r.Subject, Header: r.Header, Data: r.Body})
	if err != nil {
		return err
	}
	r.Done(bridge.Stored{Sequence: ack.Sequence, Duplicate: ack.Duplicate})
	return nil
}

// deaf is a settler whose words do not arrive.
type deaf struct{}

var errDeaf = errors.New("not heard")

func (deaf) Ack() error                  { return errDeaf }
func (deaf) TermWithReason(string) error { return errDeaf }
func (deaf) InProgress() error           { return errDeaf }
