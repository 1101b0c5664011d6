package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"wabridge/bridge/bridgetest"
)

// platform is a token endpoint and a Chat API that answer what a test wants.
func platform(t *testing.T, tokenStatus, sessionStatus int) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(tokenStatus)
		if tokenStatus != http.StatusOK {
			fmt.Fprint(w, `{"error":"invalid_client"}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"fetched","token_type":"Bearer","expires_in":3600}`)
	})
	mux.HandleFunc("GET /v1/shop", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer fetched" || r.Header.Get("Upgrade") != "" {
			t.Errorf("request to %s: %v", r.URL.Path, r.Header)
		}
		w.WriteHeader(sessionStatus)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// shopAt is the environment of a chatapi session on a platform.
func shopAt(server *httptest.Server) []string {
	return shop("SESSION_SHOP_TOKEN_URL="+server.URL+"/token",
		"SESSION_SHOP_URL=ws"+strings.TrimPrefix(server.URL, "http")+"/v1/{session}")
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name          string
		token, status int
		code          int
		want          string
	}{
		{"well", 200, 400, exitOK, "ok       session shop      token and connection, good until 2"},
		{"wrong client", 401, 400, exitFailed, "failed   session shop      token: "},
		{"wrong token", 200, 401, exitFailed, "failed   session shop      the platform refuses the token: 401 Unauthorized; get a new token"},
		{"no permission", 200, 403, exitFailed, "failed   session shop      the token lacks permission: 403 Forbidden; grant"},
		{"no session", 200, 404, exitFailed, "failed   session shop      the platform does not know the session: 404 Not Found; check"},
		{"slow down", 200, 429, exitOK, "warning  session shop      the platform is there, but says 429 Too Many Requests; try again"},
		{"trouble", 200, 503, exitOK, "warning  session shop      the platform is there, but says 503"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := natsWithStreams(t)
			environment(t, append(shopAt(platform(t, test.token, test.status)), "NATS_URL="+server.URL())...)
			r := command(t, "", "check").want(t, test.code)
			for _, want := range []string{
				"ok       configuration     sessions in the environment: 1\n",
				"ok       nats              server ",
				"ok       streams           11 streams and buckets\n",
				test.want,
			} {
				if !strings.Contains(r.out, want) {
					t.Errorf("%q is not in:\n%s", want, r.out)
				}
			}
			if strings.Contains(r.out, "swordfish") || strings.Contains(r.out, "fetched") {
				t.Errorf("prints a secret:\n%s", r.out)
			}
		})
	}
}

func TestCheckTellsWhatTheBridgeSaid(t *testing.T) {
	server := natsWithStreams(t)
	kv, err := server.JetStream(t).KeyValue(t.Context(), "wa_state")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "state.shop", []byte(`{"state":"unauthorized","reason":"expired","at":"2026-11-23T12:00:00Z"}`)); err != nil {
		t.Fatal(err)
	}
	environment(t, shop("NATS_URL="+server.URL(), "SESSION_SHOP_REFRESH_TOKEN=swordfish")...)
	r := command(t, "", "check").want(t, exitOK)
	if !strings.Contains(r.out, "token not tried: its refresh token is left alone; the bridge says unauthorized since 2026-11-23T12:00:00Z (expired)") {
		t.Errorf("out:\n%s", r.out)
	}
}

func TestCheckStoredSessions(t *testing.T) {
	server := natsWithStreams(t)
	kv, err := server.JetStream(t).KeyValue(t.Context(), "wa_sessions")
	if err != nil {
		t.Fatal(err)
	}
	whatsapp := platform(t, 200, 400)
	for id, definition := range map[string]string{
		"shop": `{"platform":"chatapi","url":"ws` + strings.TrimPrefix(whatsapp.URL, "http") + `/v1/{session}",` +
			`"token_url":"` + whatsapp.URL + `/token","client_id":"wabridge","client_secret":"env:SHOP_SECRET"}`,
		"quiet": `{"platform":"chatapi","paused":true}`,
		"odd":   `{"platform":"carrierpigeon"}`,
		"loose": `{"platform":"chatapi","token":"swordfish"}`,
	} {
		if _, err := kv.Put(t.Context(), id, []byte(definition)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SHOP_SECRET", "swordfish")
	r := command(t, "", "check").want(t, exitFailed)
	for _, want := range []string{
		"ok       session shop      token and connection, good until 2",
		"ok       session quiet     paused\n",
		"failed   session odd       no such platform; want chatapi or cloudapi\n",
		"failed   session loose     definition of session loose: token: want a reference",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out, "swordfish") {
		t.Errorf("prints a secret:\n%s", r.out)
	}
}

func TestCheckJSON(t *testing.T) {
	server := bridgetest.NATS(t)
	environment(t, "NATS_URL="+server.URL(), "NATS_ULR=x", "LOG_LEVEL=x", "MANAGE_STREAMS=off")
	r := command(t, "", "check", "--json").want(t, exitFailed)
	var got struct {
		OK     bool
		Checks []finding
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, f := range got.Checks {
		states[f.Check] += f.State + " "
	}
	if got.OK || states["configuration"] != "failed warning " || states["nats"] != "ok " || states["streams"] != "failed " {
		t.Errorf("checks %v", got)
	}
	if r.errors != "" {
		t.Errorf("errors %q", r.errors)
	}
}

func TestCheckWithoutJetStream(t *testing.T) {
	server := bridgetest.NATS(t, bridgetest.NoJetStream())
	environment(t, "NATS_URL="+server.URL())
	r := command(t, "", "check").want(t, exitFailed)
	if !strings.Contains(r.out, "failed   streams           JetStream is not enabled") {
		t.Errorf("out:\n%s", r.out)
	}
}

// A user who may not ask JetStream is told so once, not for every stream.
func TestCheckWithoutPermission(t *testing.T) {
	server := bridgetest.NATS(t, bridgetest.Configure(func(o *server.Options) {
		o.NoAuthUser = "nobody"
		o.Users = []*server.User{{Username: "nobody", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"nothing"}}}}}
	}))
	environment(t, "NATS_URL="+server.URL())
	r := command(t, "", "check").want(t, exitFailed)
	if strings.Count(r.out, "failed   streams") != 1 || !strings.Contains(r.out, "permission on $JS.API.>") {
		t.Errorf("out:\n%s", r.out)
	}
}
