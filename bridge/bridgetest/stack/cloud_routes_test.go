package stack

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// Meta's handshake is answered, and what belongs to no session is kept where an
// operator finds it.
func TestCloudRoutes(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI, Sessions: []string{Demo, support}, Simulator: corpusNumbers})
	for _, session := range []string{Demo, support} {
		if err := s.Sim.VerifyWebhook(t.Context(), session); err != nil {
			t.Error(err)
		}
	}
	dead := s.Follow(t, s.Names.DeadStream(), s.Names.Dead("*"))
	body := webhook("880090070069999", "wamid.stray", "15550142233", "x")
	if status := s.post(t, body, sign(body)); status != http.StatusOK {
		t.Errorf("an unknown number: status %d, and Meta would send it for seven days", status)
	}
	letter := dead.Next(t)
	if letter.Subject() != s.Names.Dead(bridge.Unrouted) || letter.Headers().Get("Wa-Dead-Reason") == "" || !contains(letter.Data(), "wamid.stray") {
		t.Errorf("%s, %v: %s", letter.Subject(), letter.Headers(), letter.Data())
	}
	// What cannot be read goes the same way, and what is beside it arrives.
	body = []byte(`{"object":"whatsapp_business_account","entry":[7,` + string(webhook(corpusPhone, "wamid.beside", "15550142233", "x")[len(`{"object":"whatsapp_business_account","entry":[`):]))
	if status := s.post(t, body, sign(body)); status != http.StatusOK {
		t.Errorf("one with poison in it: status %d", status)
	}
	dead.Next(t)
	recv := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	if got := recv.Next(t).Headers().Get("Nats-Msg-Id"); got != Demo+":wamid.beside" {
		t.Errorf("stored %s", got)
	}
}

// Any replica takes any webhook: messages and statuses of a session that
// another one owns are stored once, and outcomes come before statuses.
func TestCloudAnyReplica(t *testing.T) {
	t.Parallel()
	var config app.Config
	s := New(t, Config{
		Platform: bridge.PlatformCloudAPI, Sessions: []string{Demo}, App: func(c *app.Config) { config = *c },
		Simulator: func(c *simulator.Config) { c.Sessions[0].Webhook.Twice = 0.2 },
	})
	// The second stands before the load balancer, too.
	joined := make(chan struct{})
	config.ReplicaID = "two"
	at := config.WebhooksAt
	config.WebhooksAt = func(addr net.Addr) { at(addr); close(joined) }
	second := &Stack{NATS: s.NATS, config: config}
	second.Start(t)
	t.Cleanup(func() { second.Stop(t) })
	<-joined
	http.DefaultClient.CloseIdleConnections()

	statuses := s.statuses(t)
	received := s.Follow(t, s.Names.RecvStream(), s.Names.Recv(Demo))
	want := s.burst(t, "two", 120, 12)
	for i := range 100 {
		if _, err := s.Sim.Write("15550142233", fmt.Appendf(nil, `{"session":"demo","text":"%d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	accepted, left := make(map[string]bool), 4*120
	for left > 0 {
		got := reportOf(t, statuses.Next(t))
		if got.Status == "accepted" {
			accepted[got.Ref] = true
		}
		if !accepted[got.Ref] {
			t.Errorf("%s of %s comes before the outcome", got.Status, got.Ref)
		}
		left--
	}
	statuses.Quiet(t, 100*time.Millisecond)
	once := make(map[string]bool)
	for range 100 {
		once[received.Next(t).Headers().Get("Nats-Msg-Id")] = true
	}
	received.Quiet(t, 100*time.Millisecond)
	if len(once) != 100 {
		t.Errorf("%d different messages, want 100", len(once))
	}
	s.checkOrder(t, want)
}

// Duplicates, twice at once and later, are stored once; one of a week ago, too.
func TestCloudDuplicates(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI, Simulator: corpusNumber})
	old := []byte(`{"object":"whatsapp_business_account","entry":[{"id":"` + corpusWABA + `","changes":[{"value":{"messaging_product":"whatsapp",` +
		`"metadata":{"display_phone_number":"15550199001","phone_number_id":"` + corpusPhone + `"},"messages":[{"from":"15550142233","id":"wamid.old",` +
		fmt.Sprintf(`"timestamp":"%d",`, time.Now().Add(-7*24*time.Hour).Unix()) + `"type":"text","text":{"body":"x"}}]},"field":"messages"}]}]}`)
	for _, body := range [][]byte{webhook(corpusPhone, "wamid.new", "15550142233", "x"), old} {
		for range 3 {
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if status := s.post(t, body, sign(body)); status != http.StatusOK {
						t.Errorf("status %d", status)
					}
				})
			}
			both.Wait()
		}
	}
	if n := len(s.stored(t, s.Names.RecvStream(), s.Names.Recv(Demo))); n != 2 {
		t.Errorf("%d messages are stored, want 2", n)
	}
}

// While JetStream is away the answer is 503 and nothing else; when it is back,
// the same request is taken and stored once.
func TestCloudWithoutJetStream(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Platform: bridge.PlatformCloudAPI, Simulator: corpusNumber})
	body := webhook(corpusPhone, "wamid.away", "15550142233", "x")
	s.NATS.Stop()
	if status := s.post(t, body, sign(body)); status != http.StatusServiceUnavailable {
		t.Errorf("without JetStream: status %d, want 503", status)
	}
	s.NATS.Restart(t)
	bridgetest.Eventually(t, patience, func() bool { return s.post(t, body, sign(body)) == http.StatusOK }, "not taken when JetStream is back")
	if n := len(s.stored(t, s.Names.RecvStream(), s.Names.Recv(Demo))); n != 1 {
		t.Errorf("%d messages are stored, want 1", n)
	}
}
