package stack

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
)

// newLink opens a link that is closed at the end of the test.
func newLink(t testing.TB, name, target string) *bridgetest.Link {
	t.Helper()
	l, err := bridgetest.NewLink(name, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// linked is a stack whose bridge reaches NATS and the platform through links.
func linked(t testing.TB, c Config) (s *Stack, toNATS, toPlatform *bridgetest.Link) {
	t.Helper()
	c.NATS = bridgetest.NATS(t, c.Options...)
	toNATS = newLink(t, "NATS", c.NATS.URL()[len("nats://"):])
	c.App = func(a *app.Config) { a.Broker.URL = "nats://" + toNATS.Addr() }
	c.Definition = func(s *Stack, d *bridge.Definition) {
		if toPlatform == nil {
			toPlatform = newLink(t, "platform", s.SimAddr)
		}
		d.URL = "ws://" + toPlatform.Addr() + "/v1/sessions/{session}/ws"
		d.TokenURL = "http://" + toPlatform.Addr() + "/oauth/token"
	}
	return New(t, c), toNATS, toPlatform
}

// startThrough begins the load as Start does, and goes on through the restarts
// of NATS: it publishes each command, under its id, until JetStream has it.
func (l *Load) startThrough(t testing.TB, s *Stack) {
	t.Helper()
	l.stack = s
	l.statuses = s.Follow(t, s.Names.RecvStream(), s.Names.Status("*"))
	l.received = s.Follow(t, s.Names.RecvStream(), s.Names.Recv("*"))
	l.running.Go(func() {
		tick := time.NewTicker(l.Every)
		defer tick.Stop()
		for i := range l.Messages {
			session, peer := l.place(i)
			if err := s.publishThrough(session, loadPrefix+strconv.Itoa(i), fmt.Sprintf(`{"to":"+%s","text":"%d"}`, peer, i)); err != nil {
				t.Errorf("publishing a command: %v", err)
				return
			}
			if _, err := s.Sim.Write(peer, fmt.Appendf(nil, `{"session":"%s","text":"in %d"}`, session, i)); err != nil {
				t.Errorf("writing as a user: %v", err)
				return
			}
			<-tick.C
		}
	})
}

func (s *Stack) publishThrough(session, id, body string) (err error) {
	m := nats.NewMsg(s.Names.Send(session))
	m.Header.Set(nats.MsgIdHdr, id)
	m.Data = []byte(body)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err = s.JS.PublishMsg(ctx, m)
		cancel()
		if err == nil {
			return nil
		}
		<-time.After(20 * time.Millisecond)
	}
	return err
}
