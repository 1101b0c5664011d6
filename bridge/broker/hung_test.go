package broker

import (
	"log/slog"
	"testing"
	"time"

	"wabridge/bridge/bridgetest"
)

func TestAHungServerIsLeft(t *testing.T) {
	// One server, known by two addresses: the first hangs.
	s := bridgetest.NATS(t)
	hangs, err := bridgetest.NewLink("hangs", s.URL()[len("nats://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hangs.Close)
	b := open(t, s, func(c *Config) { c.URL = "nats://" + hangs.Addr(); c.Logger = slog.New(slog.DiscardHandler) })
	kv := bucket(t, b, State)
	if err := b.nc.SetServerPool([]string{"nats://" + hangs.Addr(), s.URL()}); err != nil {
		t.Fatal(err)
	}
	hangs.HoldUp()
	hangs.HoldDown()
	began := time.Now()
	bridgetest.Eventually(t, long, func() bool {
		_, err := kv.Put(t.Context(), "state.shop", []byte("x"))
		return err == nil
	}, "another server takes over")
	if took := time.Since(began); took > pingEvery {
		t.Errorf("it took %v: as long as pings need", took)
	}
}

// cut gives a broker on a way that can be cut.
func cut(t *testing.T) (*bridgetest.Server, *bridgetest.Link, *Broker) {
	t.Helper()
	s := bridgetest.NATS(t)
	link, err := bridgetest.NewLink("cut", s.URL()[len("nats://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	return s, link, open(t, s, func(c *Config) { c.URL = "nats://" + link.Addr() })
}

func TestAWriteOutlivesItsConnection(t *testing.T) {
	_, link, b := cut(t)
	kv := bucket(t, b, State)
	link.HoldDown()
	type result struct {
		took time.Duration
		err  error
	}
	done := make(chan result, 1)
	began, before := time.Now(), b.nc.Stats().OutMsgs
	go func() {
		_, err := kv.Put(t.Context(), "state.shop", []byte("x"))
		done <- result{time.Since(began), err}
	}()
	bridgetest.Eventually(t, long, func() bool { return b.nc.Stats().OutMsgs > before })
	link.Cut()
	link.Heal()
	if r := <-done; r.err != nil || r.took >= callWait {
		t.Errorf("it took %v, %v: it waited for an answer that went with the connection", r.took, r.err)
	}
}

// What JetStream did and did not answer is not done twice, and counts as done.
func TestAWriteThatIsNotAnsweredIsMadeAgain(t *testing.T) {
	s, link, b := cut(t)
	kv := bucket(t, b, Ledger)
	first, err := kv.Put(t.Context(), "a", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func() (uint64, error){
		"put":    func() (uint64, error) { return kv.Put(t.Context(), "put", []byte("2")) },
		"create": func() (uint64, error) { return kv.Create(t.Context(), "create", []byte("2")) },
		"update": func() (uint64, error) { return kv.Update(t.Context(), "a", []byte("2"), first) },
		"delete": func() (uint64, error) { return 0, kv.Delete(t.Context(), "put") },
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := s.JetStream(t).Stream(t.Context(), "KV_wa_ledger")
			if err != nil {
				t.Fatal(err)
			}
			was := stream.CachedInfo().State.LastSeq
			link.HoldDown()
			before := b.nc.Stats().OutMsgs
			done := make(chan error, 1)
			var revision uint64
			go func() {
				var err error
				revision, err = write()
				done <- err
			}()
			bridgetest.Eventually(t, long, func() bool { return b.nc.Stats().OutMsgs >= before+2 }, "it is not tried again")
			link.Heal()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			info, err := stream.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if info.State.LastSeq != was+1 || name != "delete" && revision != was+1 {
				t.Errorf("%d revisions were written, and it is number %d of %d", info.State.LastSeq-was, revision, info.State.LastSeq)
			}
		})
	}
}
