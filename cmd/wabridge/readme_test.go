package main

import (
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"wabridge/bridge/bridgetest"
	"wabridge/bridge/simulator"
)

// TestReadme runs what the README says of running the service: its variables as
// they are exported there, `wabridge check`, `wabridge run`, and a request to the
// micro service. The addresses of its example become those of a simulator.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	said := func(begins string) string {
		t.Helper()
		_, line, ok := strings.Cut(string(text), begins)
		line, _, _ = strings.Cut(line, "\n")
		if !ok {
			t.Fatalf("the README has no %s", begins)
		}
		return line
	}
	args := func(begins string) []string {
		t.Helper()
		return strings.Fields(strings.TrimPrefix(begins+said("    "+begins), "wabridge "))
	}

	server := bridgetest.NATS(t)
	sim, err := simulator.New(simulator.Config{
		Sessions: []simulator.SessionConfig{{ID: "shop"}},
		Clients:  []simulator.Client{{ID: "shop", Secret: "swordfish"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	platform := httptest.NewServer(sim.Handler())
	t.Cleanup(func() {
		platform.CloseClientConnections()
		platform.Close()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	here := strings.NewReplacer(
		"nats://127.0.0.1:4222", server.URL(),
		"wss://gateway.example", "ws"+strings.TrimPrefix(platform.URL, "http"),
		"https://gateway.example", platform.URL,
		"/run/secrets/shop", writeFile(t, "swordfish\n"),
	)
	var env []string
	for _, line := range regexp.MustCompile(`(?m)^ {4}export (.+)$`).FindAllStringSubmatch(string(text), -1) {
		for one := range strings.FieldsSeq(line[1]) {
			name, value, _ := strings.Cut(strings.TrimPrefix(one, prefix+"_"), "=")
			env = append(env, name+"="+here.Replace(strings.Trim(value, "'")))
		}
	}
	if len(env) < 6 {
		t.Fatalf("the README exports %q", env)
	}
	environment(t, append(env, "ADMIN_ADDR="+freeAddr(t))...)

	checked := command(t, "", args("wabridge check")...).want(t, exitOK)
	if !strings.Contains(checked.out, "ok       session shop      token and connection") || strings.Contains(checked.out, stateWarning) {
		t.Errorf("check:\n%s", checked.out)
	}
	service, stop := watch(t, args("wabridge run")...)
	bridgetest.Eventually(t, time.Minute, func() bool { return command(t, "", "healthcheck").code == exitOK }, "the service is not ready: %v", service)

	subject, body, _ := strings.Cut(said("`"+"nats req "), " ")
	body, _, _ = strings.Cut(body, "`")
	nc := server.Conn(t)
	bridgetest.Eventually(t, time.Minute, func() bool {
		m, err := nc.Request(subject, []byte(strings.Trim(body, "'")), 10*time.Second)
		return err == nil && strings.Contains(string(m.Data), `"status":"accepted"`)
	}, "%s is not accepted: %v", subject, service)
	if code := stop(); code != exitOK {
		t.Errorf("exit code %d: %s", code, service)
	}
}
