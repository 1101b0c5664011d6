package simulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wabridge/bridge/simulator"
)

func TestBridgeThatBreaksTheProtocolIsTold(t *testing.T) {
	send := func(id, body string) func(*link) {
		return func(l *link) { l.send(id, body) }
	}
	raw := func(s string) func(*link) {
		return func(l *link) { l.raw(s) }
	}
	head := `{"specversion":"1.0","id":"x","source":"/s"`
	for _, tc := range []struct {
		name string
		do   func(*link)
		code int
		says string
	}{
		{"not JSON", raw("hello"), 1008, "not a JSON object"},
		{"no id", raw(`{"specversion":"1.0","source":"/s","type":"whatsapp.send","data":{}}`), 1008, "id is missing"},
		{"no source", raw(`{"specversion":"1.0","id":"x","type":"whatsapp.send","data":{}}`), 1008, "source is missing"},
		{"other version", raw(`{"specversion":"0.3","id":"x","source":"/s","type":"whatsapp.send","data":{}}`), 1008, "specversion"},
		{"unknown type", raw(head + `,"type":"whatsapp.hello","data":{}}`), 1008, "type is not"},
		{"no data", raw(head + `,"type":"whatsapp.send"}`), 1008, "data is missing"},
		{"upper-case attribute", raw(head + `,"type":"whatsapp.send","traceParent":"x","data":{}}`), 1008, "attribute name"},
		{"attribute twice", raw(head + `,"id":"y","type":"whatsapp.send","data":{}}`), 1008, "there twice"},
		{"bad time", raw(head + `,"type":"whatsapp.send","time":"now","data":{}}`), 1008, "RFC 3339"},
		{"bad traceparent", raw(head + `,"type":"whatsapp.send","traceparent":"00-0-0-0","data":{}}`), 1008, "traceparent"},
		{"other content type", raw(head + `,"type":"whatsapp.send","datacontenttype":"text/xml","data":{}}`), 1008, "datacontenttype"},
		{"long id", send(strings.Repeat("x", 129), textTo(marta, "x")), 1008, "128"},
		{"ack of what was not sent", func(l *link) { l.ack(9) }, 1008, "was not sent"},
		{"ack as a number", func(l *link) { l.write("whatsapp.ack", "", `{"sequence":1}`) }, 1008, "20 digits"},
		{"token missing", func(l *link) { l.write("whatsapp.token", "", `{}`) }, 1008, "access_token"},
		{"token unknown", func(l *link) { l.write("whatsapp.token", "", `{"access_token":"made-up"}`) }, 4401, "unknown"},
		{"binary", func(l *link) {
			if err := l.ws.WriteMessage(websocket.BinaryMessage, []byte(head+`,"type":"whatsapp.send","data":{}}`)); err != nil {
				l.t.Error(err)
			}
		}, 1003, "text messages"},
		{"too big", func(l *link) {
			// The close may come before all of it is written.
			_ = l.ws.WriteMessage(websocket.TextMessage, []byte(strings.Repeat(" ", 961<<10)))
		}, 1009, ""},
		{"ack goes back", func(l *link) {
			l.send("a", textTo(marta, "x"))
			for l.next().Type != "whatsapp.status.read" {
				continue
			}
			l.ack(3)
			l.ack(2)
		}, 1008, "goes back"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlatform(t, nil)
			l := p.dial(t, p.token(t))
			l.expect("whatsapp.session.ready")
			tc.do(l)
			if ce := l.closed(); ce.Code != tc.code || !strings.Contains(ce.Text, tc.says) {
				t.Errorf("closed with %d %q", ce.Code, ce.Text)
			}
			if tc.code != 4401 {
				eventually(t, "the violation", func() bool { return len(p.Violations()) == 1 })
			}
		})
	}
}

func TestWindowIsEnforced(t *testing.T) {
	p := newPlatform(t, func(c *simulator.Config) { c.Sessions[0].Window = 2 })
	if _, err := p.AddFault(simulator.Fault{Kind: simulator.FaultDropAnswer, Count: -1}); err != nil {
		t.Fatal(err)
	}
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	for i := range 3 {
		l.send(fmt.Sprint("s", i), textTo(marta, "x"))
	}
	if ce := l.closed(); ce.Code != 1008 || !strings.HasPrefix(ce.Text, "window") {
		t.Errorf("closed with %d %q", ce.Code, ce.Text)
	}
}

func TestHandshake(t *testing.T) {
	p := newPlatform(t, nil)
	for _, c := range []simulator.Client{
		{ID: "stranger", Secret: "x", Sessions: []string{"other"}}, {ID: "short", Secret: "x", TokenTTL: simulator.Duration(-1)},
	} {
		if err := p.AddClient(c); err != nil {
			t.Fatal(err)
		}
	}
	good := p.token(t)
	stranger, refresh, err := p.IssueToken("stranger")
	if err != nil {
		t.Fatal(err)
	}
	expired, _, err := p.IssueToken("short")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, token string
		change      func(http.Header, *websocket.Dialer)
		fault       *simulator.Fault
		status      int
		violations  int
	}{
		{"unknown token", "nope", nil, nil, 401, 0},
		{"expired token", expired, nil, nil, 401, 0},
		{"refresh token", refresh, nil, nil, 401, 1},
		{"not its session", stranger, nil, nil, 403, 0},
		{"no subprotocol", good, func(_ http.Header, d *websocket.Dialer) { d.Subprotocols = nil }, nil, 400, 1},
		{"bad traceparent", good, func(h http.Header, _ *websocket.Dialer) { h.Set("traceparent", "00-zz") }, nil, 400, 1},
		{"rate limit", good, nil, &simulator.Fault{Kind: simulator.FaultHandshake, Code: 429, RetryAfter: simulator.Duration(7e9)}, 429, 0},
		{"down", good, nil, &simulator.Fault{Kind: simulator.FaultHandshake, Code: 503}, 503, 0},
		{"compression", good, func(_ http.Header, d *websocket.Dialer) { d.EnableCompression = true }, nil, 101, 1},
		{"well", good, nil, nil, 101, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.fault != nil {
				if _, err := p.AddFault(*tc.fault); err != nil {
					t.Fatal(err)
				}
			}
			before := len(p.Violations())
			ws, status, header := p.handshake(t, tc.token, tc.change)
			if ws != nil {
				newLink(t, ws).expect("whatsapp.session.ready")
			}
			if status != tc.status {
				t.Fatalf("status %d", status)
			}
			if tc.status == 429 && header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After: %q", header.Get("Retry-After"))
			}
			if n := len(p.Violations()) - before; n != tc.violations {
				t.Errorf("%d violations", n)
			}
		})
	}
	p.RemoveSession("demo")
	if _, status, _ := p.handshake(t, good, nil); status != 404 {
		t.Errorf("removed session: %d", status)
	}
}

func TestTokenOnALiveConnection(t *testing.T) {
	p := newPlatform(t, nil)
	l := p.dial(t, p.token(t))
	first := l.expect("whatsapp.session.ready")
	second := p.token(t)
	l.write("whatsapp.token", "", fmt.Sprintf(`{"access_token":%q}`, second))
	if again := l.expect("whatsapp.session.ready"); string(again.Data) != string(first.Data) {
		t.Errorf("ready changed: %s, %s", first.Data, again.Data)
	}
	p.ExpireTokens("bridge", 0)
	if ce := l.closed(); ce.Code != 4401 {
		t.Errorf("closed with %d", ce.Code)
	}
	l = p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	p.RevokeTokens("", true)
	if ce := l.closed(); ce.Code != 4401 {
		t.Errorf("closed with %d", ce.Code)
	}
	p.clean(t)
}

func TestTokenExpiresByItself(t *testing.T) {
	p := newPlatform(t, func(c *simulator.Config) { c.Clients[0].TokenTTL = simulator.Duration(3e8) })
	access, _, err := p.IssueToken("bridge")
	if err != nil {
		t.Fatal(err)
	}
	l := p.dial(t, access)
	if ce := l.closed(); ce.Code != 4401 || ce.Text != "token expired" {
		t.Errorf("closed with %d %q", ce.Code, ce.Text)
	}
}

func TestScopes(t *testing.T) {
	p := newPlatform(t, nil)
	if err := p.AddClient(simulator.Client{ID: "reader", Secret: "x", Scopes: []string{simulator.ScopeManagement}}); err != nil {
		t.Fatal(err)
	}
	access, _, err := p.IssueToken("reader")
	if err != nil {
		t.Fatal(err)
	}
	l := p.dial(t, access)
	l.expect("whatsapp.session.ready")
	l.send("a", textTo(marta, "x"))
	if res := l.result(); res.Error == nil || res.Error.Code != 10 {
		t.Errorf("result: %+v", res)
	}
}
