package simulator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"wabridge/bridge/simulator"
)

func TestControlAPI(t *testing.T) {
	p := newPlatform(t, nil)
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/livez", "", 200, ""},
		{"GET", "/control", "", 200, "# The WhatsApp simulator"},
		{"GET", "/control/", "", 200, "# The WhatsApp simulator"},
		{"POST", "/control/users", `{"number":"+1 555 014 2233","name":"Marta"}`, 200, `"level":"all"`},
		{"POST", "/control/users", `{"number":"1","level":"silent"}`, 400, "level"},
		{"POST", "/control/users", `{"nummer":"1"}`, 400, "nummer"},
		{"GET", "/control/users/" + marta, "", 200, `"name":"Marta"`},
		{"GET", "/control/users/1", "", 404, "no such user"},
		{"POST", "/control/users/" + marta + "/messages", `{"session":"demo","text":"hi"}`, 200, "wamid."},
		{"POST", "/control/users/" + marta + "/messages", `{"session":"other","text":"hi"}`, 400, "no session"},
		{"POST", "/control/users/" + marta + "/messages", `{"session":"demo"}`, 400, "nothing in the message"},
		{"POST", "/control/users/" + marta + "/messages", `{"session":"demo","id":"x"}`, 400, "platform's to give"},
		{"POST", "/control/users/" + marta + "/messages", `{"session":"demo","button_reply":"x","reply_to":"y"}`, 400, "tap on"},
		{"POST", "/control/users/" + marta + "/read", `{"id":"x"}`, 400, "no such message"},
		{"POST", "/control/faults", `{"kind":"drop_answer","count":2}`, 200, "fault-1"},
		{"POST", "/control/faults", `{"kind":"sabotage"}`, 400, "unknown kind"},
		{"POST", "/control/faults", `{"kind":"malformed","variant":"pretty"}`, 400, "unknown variant"},
		{"GET", "/control/faults", "", 200, `"count":2`},
		{"DELETE", "/control/faults/fault-1", "", 200, `"removed":1`},
		{"DELETE", "/control/faults", "", 200, `"removed":0`},
		{"POST", "/control/events?session=demo&type=message.text", `{"message":{}}`, 200, `"sequence":2`},
		{"POST", "/control/events?session=demo&type=text", `{}`, 400, "message."},
		{"POST", "/control/load", `{"session":"demo","name":"a","count":3,"conversations":2,"size":300}`, 200, `"injected":3`},
		{"POST", "/control/load", `{"session":"demo","name":"a","count":3,"conversations":2,"size":300}`, 200, `"injected":0`},
		{"GET", "/control/stats", "", 200, `"sequence":5`},
		{"GET", "/control/messages?session=demo&limit=x", "", 400, "not a number"},
		{"GET", "/control/messages?session=demo", "", 200, `"next":0`},
		{"GET", "/control/repeats?session=demo", "", 200, ""},
		{"GET", "/control/violations", "", 200, ""},
		{"POST", "/control/sessions", `{"id":"more","window":3}`, 200, "more"},
		{"POST", "/control/sessions", `{"id":"a b"}`, 400, "session id"},
		{"DELETE", "/control/sessions/more", "", 200, "true"},
		{"POST", "/control/clients", `{"id":"c","secret":"x","token_ttl":"2s"}`, 200, `"c"`},
		{"POST", "/control/tokens", `{"action":"issue","client":"c"}`, 200, "refresh_token"},
		{"POST", "/control/tokens", `{"action":"expire","client":"c","in":"1h"}`, 200, `"tokens":1`},
		{"POST", "/control/tokens", `{"action":"revoke","client":"c","refresh":true}`, 200, `"tokens":2`},
		{"POST", "/control/tokens", `{"action":"steal"}`, 400, "action"},
		{"POST", "/control/sessions/demo/epoch", "", 200, "epoch"},
		{"POST", "/control/sessions/demo/verify", "", 400, "no Cloud API session"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			status, answer := p.call(t, tc.method, tc.path, tc.body)
			b, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			got := string(b)
			if body, ok := answer["body"].(string); ok {
				got = body
			}
			if status != tc.status || !strings.Contains(got, tc.want) {
				t.Errorf("got %d %s", status, got)
			}
		})
	}
	if ce := l.closed(); ce.Code != 1001 {
		t.Errorf("a new epoch closed with %d", ce.Code)
	}
	if status, _ := p.call(t, "POST", "/control/faults", `{"kind":"cut"}`, "Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("a page of another origin: %d", status)
	}
}

func TestWebhookBodyBecomesEvents(t *testing.T) {
	p := newPlatform(t, nil)
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	message := `{"from":"` + marta + `", "id":"wamid.a","type":"text","text":{"body":"\u00e9"}}`
	contact := `{ "wa_id":"` + marta + `"}`
	value := `{"messaging_product":"whatsapp","metadata":{"phone_number_id":"1" },"contacts":[` + contact + `],"messages":[` + message + `],"statuses":[{"id":"wamid.b","status":"sent"}]}`
	body := `{"entry":[{"changes":[{"field":"messages","value":` + value + `},{"field":"flows","value":{"n": 9007199254740993}}]}]}`
	if n, err := p.EmitWebhook("demo", []byte(body)); n != 3 || err != nil {
		t.Fatalf("%d events, %v", n, err)
	}
	for _, want := range [][2]string{
		{"whatsapp.message.text", `{"message":` + message + `,"contact":` + contact + `,"metadata":{"phone_number_id":"1" }}`},
		{"whatsapp.status.sent", `{"id":"wamid.b","status":"sent"}`},
		{"whatsapp.event.flows", `{"field":"flows","value":{"n": 9007199254740993}}`},
	} {
		if e := l.expect(want[0]); string(e.Data) != want[1] {
			t.Errorf("%s: %s", want[0], e.Data)
		}
	}
}

func TestStreamTellsEverything(t *testing.T) {
	p := newPlatform(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/control/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it ends with the test
	notices, stop := p.Subscribe()
	defer stop()
	lines := bufio.NewScanner(resp.Body)
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	// The stream may begin to listen a little later than it answers.
	for range 200 {
		p.fault(t, simulator.Fault{Kind: simulator.FaultStallRead})
	}
	l.send("a", textTo(marta, "hello"))
	l.result()
	seen := map[string]bool{}
	for !seen["accepted"] && lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			n := decode[simulator.Notice](t, []byte(data))
			seen[n.Kind] = true
			if n.Kind == "accepted" && (n.Message == nil || n.Message.Ref != "a" || n.Number != marta) {
				t.Errorf("notice: %+v", n)
			}
		}
	}
	if !seen["accepted"] {
		t.Errorf("the stream ended: %v %v", seen, lines.Err())
	}
	if n := <-notices; n.Kind != "connected" {
		t.Errorf("first notice: %+v", n)
	}
}

func TestServeSaysGoingAway(t *testing.T) {
	sim, err := simulator.New(simulator.Config{Sessions: []simulator.SessionConfig{{ID: "demo"}}, Clients: []simulator.Client{{ID: "bridge", Secret: "s3cret"}}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- sim.Serve(ctx, listener) }()
	p := &platform{Simulator: sim, url: "http://" + listener.Addr().String()}
	l := p.dial(t, p.token(t))
	l.expect("whatsapp.session.ready")
	cancel()
	if ce := l.closed(); ce.Code != 1001 {
		t.Errorf("closed with %d", ce.Code)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestConfigReportsEveryFault(t *testing.T) {
	_, err := simulator.New(simulator.Config{
		Sessions: []simulator.SessionConfig{{ID: "a b"}, {ID: "x", Window: -1}, {ID: "y"}, {ID: "y"}, {ID: "z", Webhook: &simulator.Webhook{URL: "ftp://x"}}},
		Clients:  []simulator.Client{{}, {ID: "c", Scopes: []string{"all"}}},
	})
	for _, want := range []string{`"a b"`, "window", "twice", "http or https", "no id", `"all"`} {
		if err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}
