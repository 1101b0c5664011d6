package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"wabridge/bridge"
)

// environment makes kv ("NAME=value", without our prefix) the only variables of
// ours for the time of a test.
func environment(t testing.TB, kv ...string) {
	t.Helper()
	for _, old := range os.Environ() {
		if name, _, _ := strings.Cut(old, "="); strings.HasPrefix(name, prefix+"_") {
			t.Setenv(name, "") // restores it at the end of the test
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, one := range kv {
		name, value, _ := strings.Cut(one, "=")
		t.Setenv(prefix+"_"+name, value)
	}
}

// writeFile writes a file of the test and gives its name.
func writeFile(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func shop(more ...string) []string {
	return append([]string{
		"SESSIONS=shop",
		"SESSION_SHOP_PLATFORM=chatapi",
		"SESSION_SHOP_URL=wss://chat.example/v1/{session}",
		"SESSION_SHOP_TOKEN_URL=https://id.example/token",
		"SESSION_SHOP_CLIENT_ID=wabridge",
		"SESSION_SHOP_CLIENT_SECRET=swordfish",
	}, more...)
}

func cloud(more ...string) []string {
	return append([]string{
		"WEBHOOK_ADDR=:8089",
		"SESSIONS=support-eu",
		"SESSION_SUPPORT_EU_PLATFORM=cloudapi",
		"SESSION_SUPPORT_EU_PHONE_NUMBER_ID=880090070060050",
		"SESSION_SUPPORT_EU_TOKEN=swordfish",
		"SESSION_SUPPORT_EU_APP_SECRET=swordfish",
		"SESSION_SUPPORT_EU_VERIFY_TOKEN=swordfish",
	}, more...)
}

func TestConfigDefaults(t *testing.T) {
	environment(t)
	c, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	b := c.Broker
	if b.URL != "nats://127.0.0.1:4222" || b.Names.Prefix() != "wa" || b.Shards != 0 || b.Replicas != 0 || !b.Manage {
		t.Errorf("broker: %+v", b)
	}
	if c.AdminAddr != "127.0.0.1:8088" || c.GraphVersion != "v26.0" || !c.Media || c.LogLevel != slog.LevelInfo ||
		c.LogFormat != "json" || c.ShutdownTimeout != 25*time.Second || c.AllowInsecure || len(c.Sessions) > 0 {
		t.Errorf("config: %+v", c)
	}
}

func TestConfigSetButEmptyIsNotSet(t *testing.T) {
	var empty []string
	list, err := globalVariables()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		empty = append(empty, strings.TrimPrefix(v.Name, prefix+"_")+"= ")
	}
	environment(t)
	want, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	environment(t, empty...)
	got, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	if got.Broker != want.Broker || got.AdminAddr != want.AdminAddr || got.TokenKey != "" || got.Media != want.Media {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestConfigContextReplacesDefaultURL(t *testing.T) {
	environment(t, "NATS_CONTEXT=production")
	c, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.Broker.URL != "" || c.Broker.Context != "production" {
		t.Errorf("URL %q, context %q", c.Broker.URL, c.Broker.Context)
	}
}

func TestConfigNATSURLFromFile(t *testing.T) {
	environment(t, "NATS_URL_FILE="+writeFile(t, "nats://bridge:swordfish@a:4222, nats://b:4222\n"))
	c, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	if want := "nats://bridge:swordfish@a:4222,nats://b:4222"; c.Broker.URL != want {
		t.Errorf("URL %q, want %q", c.Broker.URL, want)
	}
}

func TestConfigSessions(t *testing.T) {
	file, key := writeFile(t, "swordfish"), strings.Repeat("5eaf", 16)
	env := append(shop("SESSION_SHOP_SCOPES=whatsapp_business_messaging, whatsapp_business_management"), cloud(
		"SESSION_SUPPORT_EU_WABA_ID=1020", "SESSION_SUPPORT_EU_APP_ID=42",
		"SESSION_SUPPORT_EU_PREVIOUS_APP_SECRET_FILE="+file, "SESSION_SUPPORT_EU_UNKNOWN=resend",
		"SESSIONS=shop, support-eu,", "TOKEN_KEY_FILE="+writeFile(t, key+"\n"))...)
	environment(t, env...)
	c, err := loadConfig()
	if err != nil {
		t.Fatal(err)
	}
	want := []bridge.Definition{{
		ID: "shop", Platform: "chatapi", URL: "wss://chat.example/v1/{session}",
		TokenURL: "https://id.example/token", ClientID: "wabridge",
		ClientSecret: "env:WABRIDGE_SESSION_SHOP_CLIENT_SECRET",
		Scopes:       []string{"whatsapp_business_messaging", "whatsapp_business_management"},
	}, {
		ID: "support-eu", Platform: "cloudapi", PhoneNumberID: "880090070060050", WABAID: "1020", AppID: "42",
		Token:             "env:WABRIDGE_SESSION_SUPPORT_EU_TOKEN",
		AppSecret:         "env:WABRIDGE_SESSION_SUPPORT_EU_APP_SECRET",
		PreviousAppSecret: bridge.SecretRef("file:" + file),
		VerifyToken:       "env:WABRIDGE_SESSION_SUPPORT_EU_VERIFY_TOKEN",
		Scopes:            []string{},
		Unknown:           bridge.Resend,
	}}
	if len(c.Sessions) != len(want) {
		t.Fatalf("got %d sessions, want %d", len(c.Sessions), len(want))
	}
	for i, w := range want {
		if got := c.Sessions[i]; !reflect.DeepEqual(got, w) {
			t.Errorf("got  %#v\nwant %#v", got, w)
		}
	}
	if c.TokenKey != key {
		t.Errorf("token key %q", c.TokenKey)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

func TestConfigFaults(t *testing.T) {
	directory := t.TempDir()
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"no URL", []string{"NATS_URL=swordfish"}, "WABRIDGE_NATS_URL: want nats://host:port"},
		{"URL with password", []string{"NATS_URL=nats://user:swordfish@host:port"}, "WABRIDGE_NATS_URL: want"},
		{"URL file", []string{"NATS_URL_FILE=" + writeFile(t, "swordfish")}, "WABRIDGE_NATS_URL_FILE: want"},
		{"no URL file", []string{"NATS_URL_FILE=/swordfish"}, "WABRIDGE_NATS_URL_FILE: names a file that cannot be opened"},
		{"creds", []string{"NATS_CREDS=/swordfish"}, "WABRIDGE_NATS_CREDS: names a file that cannot be opened"},
		{"directory", []string{"NATS_CREDS=" + directory}, "WABRIDGE_NATS_CREDS: names a directory"},
		{"creds and nkey", []string{"NATS_CREDS=" + writeFile(t, "x"), "NATS_NKEY=" + writeFile(t, "x")}, "WABRIDGE_NATS_NKEY: is set together with WABRIDGE_NATS_CREDS"},
		{"cert without key", []string{"NATS_CERT=" + writeFile(t, "x")}, "WABRIDGE_NATS_KEY: is missing"},
		{"key without cert", []string{"NATS_KEY=" + writeFile(t, "x")}, "WABRIDGE_NATS_CERT: is missing"},
		{"context and creds", []string{"NATS_CONTEXT=x", "NATS_CREDS=" + writeFile(t, "x")}, "WABRIDGE_NATS_CREDS: is set together with WABRIDGE_NATS_CONTEXT"},
		{"context and URL", []string{"NATS_CONTEXT=x", "NATS_URL=nats://swordfish:4222"}, "WABRIDGE_NATS_URL: is set together with WABRIDGE_NATS_CONTEXT"},
		{"inbox prefix", []string{"NATS_INBOX_PREFIX=sword.*.fish"}, "WABRIDGE_NATS_INBOX_PREFIX: want"},
		{"domain", []string{"JS_DOMAIN=sword fish"}, "WABRIDGE_JS_DOMAIN: want"},
		{"prefix", []string{"SUBJECT_PREFIX=sword.fish"}, "WABRIDGE_SUBJECT_PREFIX: want"},
		{"replicas", []string{"STREAM_REPLICAS=swordfish"}, "WABRIDGE_STREAM_REPLICAS: want a whole number from 0 to 5"},
		{"manage", []string{"MANAGE_STREAMS=swordfish"}, "WABRIDGE_MANAGE_STREAMS: want on or off"},
		{"shards", []string{"SHARDS=-1"}, "WABRIDGE_SHARDS: want a whole number"},
		{"webhook address", []string{"WEBHOOK_ADDR=swordfish"}, "WABRIDGE_WEBHOOK_ADDR: want host:port"},
		{"webhook port", []string{"WEBHOOK_ADDR=:swordfish"}, "WABRIDGE_WEBHOOK_ADDR: want host:port"},
		{"webhook key", []string{"WEBHOOK_TLS_CERT=" + writeFile(t, "x")}, "WABRIDGE_WEBHOOK_TLS_KEY: is missing"},
		{"graph URL", []string{"GRAPH_URL=swordfish"}, "WABRIDGE_GRAPH_URL: want a full address"},
		{"graph version", []string{"GRAPH_VERSION=swordfish"}, "WABRIDGE_GRAPH_VERSION: want a version"},
		{"media", []string{"MEDIA=swordfish"}, "WABRIDGE_MEDIA: want on or off"},
		{"admin address", []string{"ADMIN_ADDR=swordfish"}, "WABRIDGE_ADMIN_ADDR: want host:port"},
		{"level", []string{"LOG_LEVEL=swordfish"}, "WABRIDGE_LOG_LEVEL: want debug"},
		{"format", []string{"LOG_FORMAT=swordfish"}, "WABRIDGE_LOG_FORMAT: want json or text"},
		{"token key", []string{"TOKEN_KEY=swordfish"}, "WABRIDGE_TOKEN_KEY: want 32 bytes"},
		{"token key twice", []string{"TOKEN_KEY=swordfish", "TOKEN_KEY_FILE=" + writeFile(t, "x")}, "WABRIDGE_TOKEN_KEY: is set together with WABRIDGE_TOKEN_KEY_FILE"},
		{"secret in place of its file", []string{"TOKEN_KEY_FILE=swordfish"}, "WABRIDGE_TOKEN_KEY_FILE: names a file that cannot be read"},
		{"empty secret file", []string{"TOKEN_KEY_FILE=" + writeFile(t, "\n")}, "WABRIDGE_TOKEN_KEY_FILE: names a file that cannot be read or is empty"},
		{"replica", []string{"REPLICA_ID=sword.fish"}, "WABRIDGE_REPLICA_ID: want"},
		{"timeout", []string{"SHUTDOWN_TIMEOUT=swordfish"}, "WABRIDGE_SHUTDOWN_TIMEOUT: want a duration"},
		{"timeout too long", []string{"SHUTDOWN_TIMEOUT=9h"}, "WABRIDGE_SHUTDOWN_TIMEOUT: want a duration"},
		{"insecure", []string{"ALLOW_INSECURE=swordfish"}, "WABRIDGE_ALLOW_INSECURE: want on or off"},
		{"session id", []string{"SESSIONS=sword.fish"}, "WABRIDGE_SESSIONS: want ids"},
		{"session twice", shop("SESSIONS=shop,shop"), "WABRIDGE_SESSIONS: names session shop twice"},
		{"one name for two", shop("SESSIONS=shop,SHOP"), "WABRIDGE_SESSIONS: sessions shop and SHOP both read WABRIDGE_SESSION_SHOP_"},
		{"dash and underscore", []string{"SESSIONS=a-b,a_b", "SESSION_A_B_PLATFORM=chatapi"}, "WABRIDGE_SESSIONS: sessions a-b and a_b both read"},
		{"one name in two ways", []string{"SESSIONS=a,a_token"}, "WABRIDGE_SESSIONS: sessions a and a_token both read WABRIDGE_SESSION_A_TOKEN_URL"},
		{"no platform", []string{"SESSIONS=shop"}, "WABRIDGE_SESSION_SHOP_PLATFORM: is missing; session shop needs it"},
		{"platform", []string{"SESSIONS=shop", "SESSION_SHOP_PLATFORM=swordfish"}, "WABRIDGE_SESSION_SHOP_PLATFORM: want chatapi or cloudapi"},
		{"no session URL", shop("SESSION_SHOP_URL="), "WABRIDGE_SESSION_SHOP_URL: is missing"},
		{"session URL", shop("SESSION_SHOP_URL=https://swordfish"), "WABRIDGE_SESSION_SHOP_URL: want a full address that begins with wss:// or ws://"},
		{"no token URL", shop("SESSION_SHOP_TOKEN_URL="), "WABRIDGE_SESSION_SHOP_TOKEN_URL: is missing"},
		{"no client", shop("SESSION_SHOP_CLIENT_ID="), "WABRIDGE_SESSION_SHOP_CLIENT_ID: is missing"},
		{"no client secret", shop("SESSION_SHOP_CLIENT_SECRET="), "WABRIDGE_SESSION_SHOP_CLIENT_SECRET: is missing"},
		{"client secret twice", shop("SESSION_SHOP_CLIENT_SECRET_FILE=" + writeFile(t, "x")), "WABRIDGE_SESSION_SHOP_CLIENT_SECRET: is set together"},
		{"no number", cloud("SESSION_SUPPORT_EU_PHONE_NUMBER_ID="), "WABRIDGE_SESSION_SUPPORT_EU_PHONE_NUMBER_ID: is missing"},
		{"number", cloud("SESSION_SUPPORT_EU_PHONE_NUMBER_ID=swordfish"), "WABRIDGE_SESSION_SUPPORT_EU_PHONE_NUMBER_ID: want digits"},
		{"no token", cloud("SESSION_SUPPORT_EU_TOKEN="), "WABRIDGE_SESSION_SUPPORT_EU_TOKEN: is missing"},
		{"no app secret", cloud("SESSION_SUPPORT_EU_APP_SECRET="), "WABRIDGE_SESSION_SUPPORT_EU_APP_SECRET: is missing"},
		{"no verify token", cloud("SESSION_SUPPORT_EU_VERIFY_TOKEN="), "WABRIDGE_SESSION_SUPPORT_EU_VERIFY_TOKEN: is missing"},
		{"policy", cloud("SESSION_SUPPORT_EU_UNKNOWN=swordfish"), "WABRIDGE_SESSION_SUPPORT_EU_UNKNOWN: want report or resend"},
	} {
		t.Run(test.name, func(t *testing.T) {
			environment(t, test.env...)
			_, err := loadConfig()
			var faults *configError
			if !errors.As(err, &faults) {
				t.Fatalf("error %v, want a *configError", err)
			}
			if !slices.ContainsFunc(faults.Faults, func(f string) bool { return strings.HasPrefix(f, test.want) }) {
				t.Errorf("faults %q, want %q", faults.Faults, test.want)
			}
			if strings.Contains(err.Error(), "swordfish") || strings.Contains(err.Error(), "sword.") {
				t.Errorf("prints the value: %v", err)
			}
		})
	}
}

func TestConfigReportsEveryFaultAtOnce(t *testing.T) {
	environment(t, cloud("NATS_URL=x", "SHARDS=x", "LOG_LEVEL=x", "SESSION_SUPPORT_EU_TOKEN=")...)
	_, err := loadConfig()
	var faults *configError
	if !errors.As(err, &faults) || len(faults.Faults) != 4 {
		t.Fatalf("want 4 faults: %v", err)
	}
}

func TestClientCommandsNeedNATSAlone(t *testing.T) {
	environment(t, "SESSIONS=shop", "LOG_LEVEL=x")
	if _, err := loadBroker(); err != nil {
		t.Fatal(err)
	}
	environment(t, "NATS_URL=x")
	if _, err := loadBroker(); err == nil {
		t.Fatal("a fault of the NATS part passes")
	}
}

// FuzzConfig sets one variable to anything: no value may end the process or be
// printed.
func FuzzConfig(f *testing.F) {
	global, err := globalVariables()
	if err != nil {
		f.Fatal(err)
	}
	session, err := sessionVariables(sessionPrefix("shop"))
	if err != nil {
		f.Fatal(err)
	}
	all := append(global, session...)
	// Every variable is there from the beginning: Go's list of the environment
	// grows with each one that is set and unset again, and reading it would take
	// longer with every run.
	base := make([]string, 0, len(all))
	for _, v := range all {
		base = append(base, strings.TrimPrefix(v.Name, prefix+"_")+"=")
	}
	environment(f, append(base, shop()...)...)
	said := make([]string, len(all))
	for i, v := range all {
		said[i] = vocabulary(f, v.Name)
		f.Add(uint8(i), "swordfish")
	}
	f.Add(uint8(0), "nats://user:pass word@[::1")
	f.Add(uint8(14), "a,b,,a, a-b,a_b,a_token")
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		i := int(which) % len(all)
		v := all[i]
		if strings.ContainsRune(value, 0) {
			return // no environment holds it
		}
		t.Setenv(v.Name, value)
		c, err := loadConfig()
		if c == nil {
			t.Fatalf("not read: %v", err)
		}
		// The ids of sessions stand in the names of variables.
		if err == nil || v.Name == prefix+"_SESSIONS" || len(value) < 8 || strings.Contains(said[i], value) {
			return
		}
		if strings.Contains(err.Error(), value) {
			t.Errorf("the fault of %s prints the value", v.Name)
		}
	})
}

// vocabulary is what the faults of a variable say of a value that is surely
// wrong.
func vocabulary(t testing.TB, name string) string {
	t.Helper()
	was := os.Getenv(name)
	t.Setenv(name, "\x01")
	defer t.Setenv(name, was)
	if _, err := loadConfig(); err != nil {
		return err.Error()
	}
	return ""
}
