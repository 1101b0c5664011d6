package stack

import (
	"testing"
	"time"

	"wabridge/bridge"
)

// Under load in both directions the process is ended, by SIGTERM and by
// kill -9, and started again: nothing is lost, doubled or out of order, and
// each command has one outcome. On the Cloud API a kill can leave a send that
// nobody knows about; what follows takes a minute, and the chaos test sees to it.
func TestRestartsUnderLoad(t *testing.T) {
	kill := func(_ *testing.T, p *Process) { p.Kill() }
	for _, c := range []struct {
		platform, name string
		end            func(t *testing.T, p *Process)
		load           *Load
	}{
		{bridge.PlatformChatAPI, "SIGTERM", terminate, &Load{Messages: 1200, Conversations: 20, Every: 4 * time.Millisecond}},
		{bridge.PlatformChatAPI, "kill -9", kill, &Load{Messages: 1200, Conversations: 20, Every: 4 * time.Millisecond}},
		// Within WhatsApp's limits: 80 a second, 45 at once to one user.
		{bridge.PlatformCloudAPI, "SIGTERM", terminate, &Load{Messages: 400, Conversations: 20, Every: 12 * time.Millisecond}},
	} {
		t.Run(c.platform+" "+c.name, func(t *testing.T) {
			s := New(t, Config{Platform: c.platform})
			s.Stop(t) // the test runs the built program instead
			p := s.StartProcess(t, "one", s.Variables(Demo)...)
			c.load.Sessions = []string{Demo}
			c.load.Start(t, s)
			for range 3 {
				<-time.After(1200 * time.Millisecond)
				c.end(t, p)
				p = s.StartProcess(t, "one", s.Variables(Demo)...)
			}
			c.load.Check(t)
			s.WaitState(t, Demo, bridge.Connected)
			terminate(t, p)
			s.WaitState(t, Demo, bridge.Stopped)
		})
	}
}

func terminate(t *testing.T, p *Process) {
	t.Helper()
	if code := p.Terminate(); code != 0 {
		t.Errorf("SIGTERM ended it with exit code %d", code)
	}
}

// A replica that is told to stop while it starts stops in order, at whatever it
// is just then.
func TestStopsWhileItStarts(t *testing.T) {
	t.Parallel()
	s, toNATS, _ := linked(t, Config{})
	s.Stop(t)
	for delay := time.Duration(0); delay < 100*time.Millisecond; delay += 2 * time.Millisecond {
		s.Start(t)
		<-time.After(delay)
		s.Stop(t)
	}
	toNATS.Refuse()
	s.Start(t)
	<-time.After(100 * time.Millisecond) // it asks again and again for NATS
	s.Stop(t)
	toNATS.Heal()
	s.Start(t)
	statuses := s.Follow(t, s.Names.RecvStream(), s.Names.Status(Demo))
	s.Publish(t, Demo, "after", `{"to":"+15550142233","text":"and now?"}`)
	statuses.Statuses(t, "after", 2)
}
