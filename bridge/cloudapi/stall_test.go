package cloudapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/bridge/bridgetest"
	"wabridge/codec"
)

// What keeps a session from sending is not to add up: each test is one way in
// which it did.

// roundTrip is a network that is a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// silence answers nothing, as a connection that leads nowhere.
func silence(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// graphOf is a Graph client whose network is f.
func graphOf(t testing.TB, f roundTrip) *Graph {
	t.Helper()
	source, err := auth.NewStatic(testToken)
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGraph(GraphConfig{Token: source, AppID: testApp, AppSecret: testSecret, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	g.http.Transport = f
	return g
}

func answered(status int, body []byte) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
}

// within waits for a state and says how long that took.
func (h *host) within(t testing.TB, state bridge.State, most time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	end := time.After(most)
	for {
		select {
		case c := <-h.changes:
			if c.State == state {
				return time.Since(begun)
			}
		case <-end:
			t.Fatalf("the session does not become %s within %v", state, most)
		}
	}
}

// Graph inspects the token and says nothing else: a session that may send does
// not wait for the rest, and asks again for it soon.
func TestConnectsWithoutTheRest(t *testing.T) {
	valid := corpus(t, "response/debug_token_valid.json")
	synctest.Test(t, func(t *testing.T) {
		var checks atomic.Int32
		s := start(t, graphOf(t, func(r *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(r.URL.Path, "/debug_token") {
				return silence(r)
			}
			checks.Add(1)
			return answered(200, valid)
		}), func(c *Config) { c.Limits = func(Limits) {} })
		s.host.within(t, bridge.Connected, numberTimeout+time.Second)
		<-time.After(checkAgain + time.Minute)
		if got := checks.Load(); got != 2 {
			t.Errorf("%d checks, want another one after %v", got, checkAgain)
		}
		s.stop()
	})
}

// However long Graph was silent, and whatever was under way when it came back,
// the session is there again after the longest pause between two tries.
func TestSilentGraphComesBack(t *testing.T) {
	valid := corpus(t, "response/debug_token_valid.json")
	for away := time.Second; away < 10*time.Minute; away = away*5/4 + 137*time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			back := time.Now().Add(away)
			s := start(t, graphOf(t, func(r *http.Request) (*http.Response, error) {
				if time.Now().Before(back) { // and what was sent before is lost
					return silence(r)
				}
				return answered(200, valid)
			}))
			<-time.After(away)
			s.host.within(t, bridge.Connected, networkMost+time.Second)
			s.stop()
		})
	}
}

// Each time that someone asks for a check the session looks again. It must not
// stay away for longer and longer because of that.
func TestAskingDoesNotStretchTheWait(t *testing.T) {
	valid, invalid := corpus(t, "response/debug_token_valid.json"), corpus(t, "response/debug_token_invalid.json")
	synctest.Test(t, func(t *testing.T) {
		var taken atomic.Bool
		var checks atomic.Int32
		s := start(t, graphOf(t, func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/debug_token") {
				checks.Add(1)
			}
			if taken.Load() {
				return answered(200, valid)
			}
			return answered(200, invalid)
		}))
		for want := int32(1); want <= 6; want++ {
			synctest.Wait()
			if got := checks.Load(); got != want {
				t.Errorf("%d checks, want %d", got, want)
			}
			s.Recheck()
		}
		synctest.Wait()
		taken.Store(true)
		s.host.within(t, bridge.Connected, refusedLeast+time.Second)
		s.stop()
	})
}

// A session that has sent waits as for a first refusal, also where it is a check
// that finds the token gone.
func TestEachLossBeginsAnew(t *testing.T) {
	valid, invalid, sent := corpus(t, "response/debug_token_valid.json"), corpus(t, "response/debug_token_invalid.json"), corpus(t, "response/send_ok.json")
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		s := start(t, graphOf(t, func(r *http.Request) (*http.Response, error) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/messages"):
				return answered(200, sent)
			case gone.Load():
				return answered(200, invalid)
			default:
				return answered(200, valid)
			}
		}))
		for range 4 {
			s.host.within(t, bridge.Connected, refusedLeast+time.Second)
			if got := s.send(t, textBody); got.Class != codec.Accepted {
				t.Errorf("got %+v", got)
			}
			gone.Store(true)
			s.Recheck()
			s.host.within(t, bridge.Unauthorized, time.Second)
			gone.Store(false)
		}
		s.stop()
	})
}

// An operator replaces the file some time after the token was refused: the
// session does not sit out its wait.
func TestNewTokenIsNoticed(t *testing.T) {
	valid, expired := corpus(t, "response/debug_token_valid.json"), corpus(t, "error/e190_expired_463.json")
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		write := func(token string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("old")
		source, err := auth.NewFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var checks atomic.Int32
		g := graphOf(t, func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/messages") {
				return answered(401, expired)
			}
			if strings.HasSuffix(r.URL.Path, "/debug_token") {
				checks.Add(1)
			}
			return answered(200, valid)
		})
		g.token = source
		s := start(t, g)
		s.host.within(t, bridge.Connected, time.Second)
		if got := s.send(t, textBody); got.Class != codec.Unauthorized {
			t.Fatalf("got %+v", got)
		}
		s.host.within(t, bridge.Unauthorized, time.Second)
		<-time.After(refusedLeast / 2)
		if got := checks.Load(); got != 1 {
			t.Errorf("%d checks: Graph is asked about a token that it has refused", got)
		}
		write("another")
		s.host.within(t, bridge.Connected, 2*lookEvery)
		s.stop()
	})
}

// twoTokens is a source that has another token once the first is refused.
type twoTokens struct{ refused atomic.Bool }

func (s *twoTokens) Token(context.Context) (auth.Token, error) {
	if s.refused.Load() {
		return auth.Token{AccessToken: "second"}, nil
	}
	return auth.Token{AccessToken: "first"}, nil
}

func (s *twoTokens) Invalidate(token string) {
	if token == "first" {
		s.refused.Store(true)
	}
}

// A token that a check finds refused is replaced before the session gives up.
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	valid, invalid := corpus(t, "response/debug_token_valid.json"), corpus(t, "response/debug_token_invalid.json")
	synctest.Test(t, func(t *testing.T) {
		g := graphOf(t, func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("input_token") == "first" {
				return answered(200, invalid)
			}
			return answered(200, valid)
		})
		g.token = &twoTokens{}
		s := start(t, g)
		s.host.within(t, bridge.Connected, time.Second)
		s.stop()
	})
}

// The network takes what is written and gives nothing back. After a few sends
// the session asks Graph before it gives it more: each would end in doubt.
func TestSendsIntoNothingStop(t *testing.T) {
	server := newGraphServer(t)
	link, err := bridgetest.NewLink("graph", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Close)
	g := server.client(t, func(c *GraphConfig) { c.URL = "http://" + link.Addr() })
	s := start(t, g, func(c *Config) { c.SendTimeout = 200 * time.Millisecond })
	s.host.state(t, bridge.Connected)
	link.HoldDown()
	for range failuresInRow {
		if got := s.send(t, textBody); got.Class != codec.Unknown {
			t.Errorf("got %+v, want unknown", got)
		}
	}
	if got := s.send(t, textBody); got.Class != codec.Transient {
		t.Errorf("one more was sent: %+v", got)
	}
	link.Heal()
	eventually(t, "the session opens again", func() bool { return s.Window() > 0 })
	if got := s.send(t, textBody); got.Class != codec.Accepted {
		t.Errorf("afterwards: %+v", got)
	}
}

// closing counts the connections that were closed.
type closing struct {
	net.Conn
	closed func()
}

func (c closing) Close() error {
	c.closed()
	return c.Conn.Close()
}

// Connections that were idle when the network was cut lead nowhere. Once one
// send is without an answer for a while, the next ones do not try the others.
func TestQuietSendGivesUpIdleConnections(t *testing.T) {
	server := newGraphServer(t)
	ok := corpus(t, "response/send_ok.json")
	const idle = 4
	var mu sync.Mutex
	used := make(map[string]bool)
	arrived, meet := make(chan struct{}, idle), make(chan struct{})
	hung := make(chan struct{}, idle)
	server.on("POST messages", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		cut := used[r.RemoteAddr]
		used[r.RemoteAddr] = true
		mu.Unlock()
		if _, err := io.ReadAll(r.Body); err != nil {
			return // the session has ended
		}
		if cut {
			hung <- struct{}{}
			<-r.Context().Done()
			return
		}
		arrived <- struct{}{}
		<-meet // so that each has a connection of its own
		if _, err := w.Write(ok); err != nil {
			t.Errorf("answering: %v", err)
		}
	})
	g := server.client(t)
	var closed atomic.Int32
	network := g.http.Transport.(*http.Transport)
	dial := network.DialContext
	network.DialContext = func(ctx context.Context, kind, addr string) (net.Conn, error) {
		conn, err := dial(ctx, kind, addr)
		return closing{conn, sync.OnceFunc(func() { closed.Add(1) })}, err
	}
	s := start(t, g, func(c *Config) { c.SendTimeout = time.Minute })
	s.host.state(t, bridge.Connected)
	g.Close() // what the check left
	closed.Store(0)
	s.quiet = 50 * time.Millisecond
	results := make(chan bridge.Result, idle+2)
	give := func(n int) {
		s.Send(&bridge.Outgoing{Ref: fmt.Sprint("order-", n), Type: "text", Body: []byte(textBody), Done: func(r bridge.Result) { results <- r }})
	}
	take := func() {
		t.Helper()
		select {
		case r := <-results:
			if r.Class != codec.Accepted {
				t.Fatalf("got %+v", r)
			}
		case <-time.After(soon):
			t.Fatal("no result came")
		}
	}
	for n := range idle {
		give(n)
	}
	for range idle {
		<-arrived
	}
	close(meet)
	for range idle {
		take()
	}
	give(idle) // on one of the idle connections
	<-hung
	eventually(t, "the other idle connections are closed", func() bool { return closed.Load() == idle-1 })
	give(idle + 1)
	take()
	server.CloseClientConnections()
}
