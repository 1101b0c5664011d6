package main

import (
	"slices"
	"strings"
	"testing"
)

func TestVariableNames(t *testing.T) {
	global, err := globalVariables()
	if err != nil {
		t.Fatal(err)
	}
	session, err := sessionVariables(sessionPrefix("a-b"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range append(global, session...) {
		got = append(got, v.Name)
		if v.Description == "" {
			t.Errorf("%s has no description", v.Name)
		}
	}
	// The contract with everyone's deployment: nothing here is renamed lightly.
	want := strings.Fields(`
		NATS_URL NATS_URL_FILE NATS_CREDS NATS_CONTEXT NATS_NKEY NATS_CA NATS_CERT NATS_KEY NATS_INBOX_PREFIX
		JS_DOMAIN SUBJECT_PREFIX STREAM_REPLICAS MANAGE_STREAMS SHARDS SESSIONS
		WEBHOOK_ADDR WEBHOOK_TLS_CERT WEBHOOK_TLS_KEY GRAPH_URL GRAPH_VERSION MEDIA
		ADMIN_ADDR ADMIN_PPROF CONTROL LOG_LEVEL LOG_FORMAT TOKEN_KEY TOKEN_KEY_FILE REPLICA_ID SHUTDOWN_TIMEOUT ALLOW_INSECURE
		SESSION_A_B_PLATFORM SESSION_A_B_URL SESSION_A_B_TOKEN_URL SESSION_A_B_CLIENT_ID
		SESSION_A_B_CLIENT_SECRET SESSION_A_B_CLIENT_SECRET_FILE SESSION_A_B_REFRESH_TOKEN
		SESSION_A_B_REFRESH_TOKEN_FILE SESSION_A_B_SCOPES SESSION_A_B_TOKEN SESSION_A_B_TOKEN_FILE
		SESSION_A_B_PHONE_NUMBER_ID SESSION_A_B_WABA_ID SESSION_A_B_APP_ID SESSION_A_B_APP_SECRET
		SESSION_A_B_APP_SECRET_FILE SESSION_A_B_PREVIOUS_APP_SECRET SESSION_A_B_PREVIOUS_APP_SECRET_FILE
		SESSION_A_B_VERIFY_TOKEN SESSION_A_B_VERIFY_TOKEN_FILE SESSION_A_B_UNKNOWN`)
	for i := range want {
		want[i] = prefix + "_" + want[i]
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestUnknownNames(t *testing.T) {
	for name, test := range map[string]struct{ kv, want string }{
		"misspelt":             {"NATS_ULR=swordfish", "did you mean WABRIDGE_NATS_URL?"},
		"misspelt for session": {"SESSION_SHOP_CLIENT_SECRT=swordfish", "did you mean WABRIDGE_SESSION_SHOP_CLIENT_SECRET?"},
		"of no session":        {"SESSION_ELSEWHERE_PLATFORM=chatapi", "is ignored; is its session in WABRIDGE_SESSIONS?"},
		"nothing near":         {"QUITE_ANOTHER_THING=swordfish", "is not a variable of wabridge and is ignored"},
		"port":                 {"WEBHOOK_PORT=8089", "WABRIDGE_WEBHOOK_PORT"},
		"service host":         {"SERVICE_HOST=10.0.0.1", ""},
		"service port":         {"SERVICE_PORT=8088", ""},
		"named service port":   {"SERVICE_PORT_ADMIN=8088", ""},
		"link":                 {"PORT=tcp://10.0.0.1:8088", ""},
		"link port":            {"PORT_8088_TCP=tcp://10.0.0.1:8088", ""},
		"link part":            {"PORT_8088_TCP_ADDR=10.0.0.1", ""},
		"other service":        {"WEBHOOK_SERVICE_HOST=10.0.0.1", ""},
		"other service's link": {"WEBHOOK_PORT=tcp://10.0.0.1:8089", ""},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, shop(test.kv)...)
			c, err := loadConfig()
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(c.Warnings, "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("warns %q, want %q", got, test.want)
			}
			if strings.Contains(got, "swordfish") {
				t.Errorf("prints the value: %s", got)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "ab", 1},
		{"abcd", "abdc", 1},
		{"url", "ulr", 1},
		{"kitten", "sitting", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if got := distance(test.b, test.a); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.b, test.a, got, test.want)
		}
	}
}
