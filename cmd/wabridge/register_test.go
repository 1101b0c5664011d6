package main

import (
	"strings"
	"testing"

	"wabridge/bridge/simulator"
)

// support is the environment of a Cloud API session on the simulator.
func support(url string, more ...string) []string {
	return append([]string{
		"SESSIONS=support", "SESSION_SUPPORT_PLATFORM=cloudapi", "SESSION_SUPPORT_PHONE_NUMBER_ID=880090070060050",
		"SESSION_SUPPORT_WABA_ID=770010020030040", "SESSION_SUPPORT_TOKEN=sardine", "SESSION_SUPPORT_APP_ID=4242",
		"SESSION_SUPPORT_APP_SECRET=swordfish", "GRAPH_URL=" + url,
	}, more...)
}

// TestRegister registers a number, and looks at its session before.
func TestRegister(t *testing.T) {
	server := natsWithStreams(t)
	_, url := whatsapp(t, func(w *simulator.Webhook) { w.Unregistered, w.Unsubscribed = true, true })
	environment(t, support(url, "NATS_URL="+server.URL())...)
	r := command(t, "", "check").want(t, exitOK)
	for _, want := range []string{
		"ok       session support   token: valid",
		"ok       session support   scope whatsapp_business_messaging: granted",
		"warning  session support   webhook subscription: the app is not subscribed",
		"ok       session support   phone number: connected",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in:\n%s", want, r.out)
		}
	}
	if r := command(t, "654321\n", "register", "support").want(t, exitFailed); strings.Contains(r.errors, "654321") || strings.Contains(r.errors, "sardine") {
		t.Errorf("a wrong PIN: %s", r.errors)
	}
	pin := writeFile(t, "123456\n")
	if r := command(t, "", "register", "support", "--pin-file", pin).want(t, exitOK); r.out != "The number of session support is registered\n" {
		t.Errorf("registered: %q", r.out)
	}
	if r := command(t, "", "register", "support", "--pin-file", pin, "--json").want(t, exitOK); r.out != `{"session":"support","registered":true}`+"\n" {
		t.Errorf("registered: %q", r.out)
	}
	if strings.Contains(r.out, "sardine") || strings.Contains(r.out, "swordfish") {
		t.Errorf("check prints a secret:\n%s", r.out)
	}
}

func TestCheckSaysWhatIsMissing(t *testing.T) {
	server := natsWithStreams(t)
	_, url := whatsapp(t, nil)
	for variable, want := range map[string]string{
		"SESSION_SUPPORT_TOKEN=other": "failed   session support   token: ",
		"SESSION_SUPPORT_WABA_ID=":    "warning  session support   WhatsApp Business Account: its id is not set",
	} {
		environment(t, support(url, "NATS_URL="+server.URL(), variable)...)
		if r := command(t, "", "check"); !strings.Contains(r.out, want) {
			t.Errorf("%s: %q is not in:\n%s", variable, want, r.out)
		}
	}
}
