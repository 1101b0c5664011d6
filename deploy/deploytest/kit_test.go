package deploytest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
	"wabridge/bridge/bridgetest/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits: far more than anything takes on a calm machine.
const patience = 30 * time.Second

// users are those of accounts.conf; the password of each is in a variable.
func users() []string { return []string{"bridge", "publisher", "consumer", "admin"} }

func variable(user string) string { return "NATS_" + strings.ToUpper(user) + "_PASSWORD" }

func password(user string) string { return "the password of " + user }

// environment sets what nats.conf asks for.
func environment(t testing.TB) {
	t.Helper()
	t.Setenv("NATS_NAME", "nats-1")
	t.Setenv("NATS_ROUTES", "[nats://cluster:secret@nats-1:6222, nats://cluster:secret@nats-2:6222]")
	for _, user := range append(users(), "cluster") {
		t.Setenv(variable(user), `"`+password(user)+`"`)
	}
}

// configured is nats.conf as the server reads it, on ports of this machine.
func configured(t testing.TB) bridgetest.Option {
	return bridgetest.Configure(func(o *server.Options) {
		loaded, err := server.ProcessConfigFile("../nats/nats.conf")
		if err != nil {
			t.Fatalf("loading nats.conf: %v", err)
		}
		loaded.Host, loaded.Port = o.Host, o.Port
		loaded.HTTPHost, loaded.HTTPPort = "", 0
		loaded.StoreDir = ""
		loaded.NoSigs, loaded.NoLog = true, true
		loaded.ConfigFile = ""
		*o = *loaded
	})
}

// alone takes a node out of its cluster. Connections without a name are the
// admin's: the test kit's own.
func alone() bridgetest.Option {
	return bridgetest.Configure(func(o *server.Options) {
		o.Cluster, o.Routes, o.NoAuthUser = server.ClusterOpts{}, nil, "admin"
	})
}

// without takes one grant to publish from a user.
func without(t testing.TB, user, grant string) bridgetest.Option {
	return bridgetest.Configure(func(o *server.Options) {
		for _, u := range o.Users {
			if u.Username != user {
				continue
			}
			i := slices.Index(u.Permissions.Publish.Allow, grant)
			if i < 0 {
				t.Fatalf("%s has no grant %s", user, grant)
			}
			u.Permissions.Publish.Allow = slices.Delete(u.Permissions.Publish.Allow, i, i+1)
		}
	})
}

// as is the URL of a server for one user.
func as(user, url string) string {
	return strings.ReplaceAll(url, "nats://", "nats://"+user+":"+strings.ReplaceAll(password(user), " ", "%20")+"@")
}

// output collects log lines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// bridgeOn runs the bridge as the user "bridge" of a server, with a session on
// a simulated WhatsApp; it gives the address of the bridge's health and metrics.
func bridgeOn(t testing.TB, nats *bridgetest.Server, log io.Writer) (*stack.Stack, string) {
	t.Helper()
	return bridgeOf(t, stack.Config{NATS: nats, Log: log, App: func(c *app.Config) {
		c.Broker.InboxPrefix = "_INBOX_bridge"
		c.Broker.URL = as("bridge", c.Broker.URL)
	}})
}

// bridgeOf runs a stack whose bridge serves health and metrics on the address
// that it gives.
func bridgeOf(t testing.TB, c stack.Config) (*stack.Stack, string) {
	t.Helper()
	admin, change := bridgetest.FreeAddr(t), c.App
	c.App = func(a *app.Config) {
		a.AdminAddr = admin
		if change != nil {
			change(a)
		}
	}
	s := stack.New(t, c)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return s, admin
}

// get is the status and body of an answer of the bridge; 0 where there is none.
func get(t testing.TB, addr, path string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if closed := resp.Body.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
	return resp.StatusCode, string(b)
}

// client is a connection of one user that collects what it is refused.
type client struct {
	*nats.Conn
	refusals chan string
}

func connect(t testing.TB, user string, s *bridgetest.Server) *client {
	t.Helper()
	c := &client{refusals: make(chan string, 16)}
	nc, err := nats.Connect(as(user, s.URL()), nats.CustomInboxPrefix("_INBOX_"+user),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.refusals <- err.Error() }))
	if err != nil {
		t.Fatalf("connecting as %s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	c.Conn = nc
	return c
}

// refused fails the test unless the server refuses what do does.
func (c *client) refused(t testing.TB, what string, do func() error) {
	t.Helper()
	if err := do(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	select {
	case got := <-c.refusals:
		if !strings.Contains(strings.ToLower(got), "permissions violation") {
			t.Errorf("%s: %s", what, got)
		}
	case <-time.After(patience):
		t.Errorf("%s was not refused", what)
	}
}

// granted fails the test where anything was refused until now.
func (c *client) granted(t testing.TB) {
	t.Helper()
	if err := c.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-c.refusals:
		t.Errorf("it was refused: %s", got)
	default:
	}
}
