package cloudapi

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

func TestSecretRotation(t *testing.T) {
	h := startHooks(t)
	body := message(testPhone, "wamid.1", `"x"`)
	if status := h.post(t, body, signatureHeader, sign("the secret before", body)); status != 200 {
		t.Errorf("previous secret: status %d", status)
	}
	if status := h.post(t, body, signatureHeader, sign("", body)); status != 401 {
		t.Errorf("empty secret: status %d", status)
	}
}

// An app's secret does not open another app's sessions.
func TestAppsAreKeptApart(t *testing.T) {
	h := startHooks(t)
	other := newHost()
	h.add(t, Route{Session: "other", PhoneNumberID: "1", WABAID: testWABA, AppID: "42", AppSecret: "other secret", Receiver: other})
	body := message(testPhone, "wamid.1", `"x"`)
	if status := postTo(t, h.url+"/"+testApp, bytes.NewReader(body), signatureHeader, sign("other secret", body)); status != 401 {
		t.Errorf("another app's secret on an app's path: status %d", status)
	}
	if status := postTo(t, h.url+"/42", bytes.NewReader(body), signatureHeader, sign("other secret", body)); status != 200 {
		t.Errorf("status %d", status)
	}
	if got := h.shop.taken(); len(got) > 0 {
		t.Error("another app wrote to the session")
	}
	next(t, h.unrouted)
	account := corpus(t, "webhook/account_review_update.json")
	if status := postTo(t, h.url, bytes.NewReader(account), signatureHeader, sign("other secret", account)); status != 200 {
		t.Errorf("status %d", status)
	}
	next(t, other)
	h.nothing(t)
	h.routes.Remove("other")
	if status := postTo(t, h.url+"/42", bytes.NewReader(body), signatureHeader, sign("other secret", body)); status != 404 {
		t.Errorf("removed app: status %d", status)
	}
}

func TestCountAndRecheck(t *testing.T) {
	h := startHooks(t)
	var mu sync.Mutex
	var counted, rechecked int
	h.add(t, Route{
		Session: "shop", PhoneNumberID: testPhone, WABAID: testWABA, AppSecret: testSecret, Receiver: h.shop,
		Count:   func(n int) { mu.Lock(); defer mu.Unlock(); counted += n },
		Recheck: func() { mu.Lock(); defer mu.Unlock(); rechecked++ },
	})
	h.post(t, message(testPhone, "wamid.1", `"x"`))
	h.post(t, corpus(t, "webhook/batch_statuses_out_of_order.json"))
	h.post(t, corpus(t, "webhook/account_update_partner_app_uninstalled.json"))
	h.post(t, corpus(t, "webhook/phone_number_quality_update.json"))
	mu.Lock()
	defer mu.Unlock()
	if counted != 1 || rechecked != 2 {
		t.Errorf("counted %d messages, rechecked %d times", counted, rechecked)
	}
}

func TestRouteFaults(t *testing.T) {
	err := NewRoutes().Add(Route{AppSecret: ""})
	if err == nil {
		t.Fatal("taken")
	}
	for _, fault := range []string{"no session", "neither a phone", "no app secret", "no receiver"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not in %v", fault, err)
		}
	}
	if _, err := NewWebhooks(WebhooksConfig{Space: 1, ReadTimeout: -1}); err == nil {
		t.Error("taken")
	}
}
