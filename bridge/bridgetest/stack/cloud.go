package stack

import (
	"io"
	"net"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/simulator"
)

// What Cloud API sessions of a Stack share. The app is an OAuth client of the
// simulator, too; its app secret is the one that the examples of the corpus are
// signed with.
const (
	appID       = "990000000000001"
	appSecret   = "test_app_secret_do_not_use"
	verifyToken = "verify-me"
	systemToken = "EAA-system-user"
)

func (s *Stack) cloudDefinition(id string) bridge.Definition {
	c := s.sessions[id]
	return bridge.Definition{
		ID: id, Platform: bridge.PlatformCloudAPI, PhoneNumberID: c.PhoneNumberID, WABAID: c.WABAID,
		AppID: appID, AppSecret: "value:" + appSecret, VerifyToken: "value:" + verifyToken, Token: "value:" + systemToken,
	}
}

func (s *Stack) cloudVariables(prefix, id string) []string {
	c := s.sessions[id]
	return []string{
		prefix + "_PLATFORM=" + bridge.PlatformCloudAPI,
		prefix + "_PHONE_NUMBER_ID=" + c.PhoneNumberID,
		prefix + "_WABA_ID=" + c.WABAID,
		prefix + "_APP_ID=" + appID,
		prefix + "_APP_SECRET=" + appSecret,
		prefix + "_VERIFY_TOKEN=" + verifyToken,
		prefix + "_TOKEN=" + systemToken,
	}
}

// WebhookURL is where webhooks are taken, by one replica or another.
func (s *Stack) WebhookURL() string { return s.front.url() }

// front stands before the replicas as a load balancer does: each connection
// goes to the next of them, and one that does not answer is left out.
type front struct {
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	replicas []string
	conns    map[net.Conn]struct{} // nil: it ends
}

// newFront takes connections until the end of the test.
func newFront(t testing.TB) *front {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{listener: l, conns: make(map[net.Conn]struct{})}
	f.work.Go(f.accept)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("stopping the webhooks' front: %v", err)
		}
		f.mu.Lock()
		open := f.conns
		f.conns = nil
		f.mu.Unlock()
		for c := range open {
			_ = c.Close() // its copying ends it, too
		}
		f.work.Wait()
	})
	return f
}

func (f *front) url() string { return "http://" + f.listener.Addr().String() + "/webhook" }

func (f *front) webhook() *simulator.Webhook {
	return &simulator.Webhook{
		URL: f.url(), AppID: appID, AppSecret: appSecret, VerifyToken: verifyToken, Token: systemToken,
		Retry: simulator.Duration(20 * time.Millisecond), RetryMax: simulator.Duration(500 * time.Millisecond),
	}
}

// add takes a replica in.
func (f *front) add(addr net.Addr) { f.addAddress(addr.String()) }

func (f *front) addAddress(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replicas = append(f.replicas, addr)
}

// hear finds the address of a replica in what it logs.
func (f *front) hear(printed []byte) {
	if found := webhooksLine().FindSubmatch(printed); found != nil {
		f.addAddress(string(found[1]))
	}
}

var webhooksLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`"taking webhooks".*"address":"([^"]+)"`)
})

func (f *front) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return // it is closed
		}
		f.work.Go(func() { f.pass(c) })
	}
}

// pass joins a connection to a replica until one side ends.
func (f *front) pass(c net.Conn) {
	defer f.forget(c)
	if !f.remember(c) {
		return
	}
	r := f.dial()
	if r == nil {
		return
	}
	defer f.forget(r)
	if !f.remember(r) {
		return
	}
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, r}, {r, c}} {
		f.work.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // either side may end it
			ended <- struct{}{}
		})
	}
	<-ended
}

// dial connects to the replica whose turn it is, or to one that answers; nil
// where none does.
func (f *front) dial() net.Conn {
	f.mu.Lock()
	replicas := slices.Clone(f.replicas)
	if len(f.replicas) > 1 {
		f.replicas = append(f.replicas[1:], f.replicas[0])
	}
	f.mu.Unlock()
	for _, addr := range replicas {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err == nil {
			return c
		}
		f.mu.Lock()
		f.replicas = slices.DeleteFunc(f.replicas, func(other string) bool { return other == addr })
		f.mu.Unlock()
	}
	return nil
}

func (f *front) remember(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns == nil {
		return false
	}
	f.conns[c] = struct{}{}
	return true
}

func (f *front) forget(c net.Conn) {
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	_ = c.Close() // the end of the test may have closed it
}
