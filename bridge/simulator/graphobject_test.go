package simulator_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"wabridge/bridge/simulator"
)

func TestGraphMedia(t *testing.T) {
	p, _ := newCloud(t, nil)
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range map[string]string{"messaging_product": "whatsapp", "type": "image/png"} {
		if err := w.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	f, err := w.CreateFormFile("file", "a.png")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.Write([]byte("pixels")); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	status, answer := p.call(t, "POST", "/v26.0/880090070060050/media", b.String(), "Authorization", "Bearer system-user", "Content-Type", w.FormDataContentType())
	if status != 200 {
		t.Fatalf("upload: %d %v", status, answer)
	}
	id := answer["id"].(string)
	_, answer = p.graph(t, "GET", id+"?phone_number_id=880090070060050", "")
	sum := sha256.Sum256([]byte("pixels"))
	if answer["sha256"] != hex.EncodeToString(sum[:]) || answer["file_size"] != "6" || answer["mime_type"] != "image/png" {
		t.Errorf("media: %v", answer)
	}
	path := strings.TrimPrefix(answer["url"].(string), p.url)
	if status, answer = p.call(t, "GET", path, "", "Authorization", "Bearer system-user"); status != 200 || answer["body"] != "pixels" {
		t.Errorf("download: %d %v", status, answer)
	}
	if status, _ = p.call(t, "GET", path, ""); status != 401 {
		t.Errorf("download without a token: %d", status)
	}
	if status, _ = p.call(t, "GET", path+"x", "", "Authorization", "Bearer system-user"); status != 404 {
		t.Errorf("download with a bad URL: %d", status)
	}
	if status, answer = p.graph(t, "DELETE", id, ""); status != 200 || answer["success"] != true {
		t.Errorf("delete: %d %v", status, answer)
	}
	if status, _ = p.graph(t, "GET", id, ""); status != 400 {
		t.Errorf("deleted media: %d", status)
	}
	// A user's photo: type and hash are filled in.
	id = p.AddMedia("image/jpeg", []byte("photo"))
	if _, err := p.Write(marta, []byte(`{"session":"demo","image":{"id":"`+id+`","caption":"look"}}`)); err != nil {
		t.Fatal(err)
	}
	ph, _ := p.Phone(marta)
	if body := string(ph.Messages[0].Body); !strings.Contains(body, `"mime_type":"image/jpeg","sha256":"`) || !strings.Contains(body, `"caption":"look"`) {
		t.Errorf("message: %s", body)
	}
}

func TestGraphTokensAndNumbers(t *testing.T) {
	p, h := newCloud(t, func(w *simulator.Webhook) {
		w.AppID, w.Unregistered, w.Unsubscribed, w.PIN = "4242", true, true, "123456"
	})
	if status, answer := p.graph(t, "GET", "880090070060050?fields=quality_rating,throughput", ""); status != 200 || answer["quality_rating"] != "GREEN" || answer["verified_name"] != nil {
		t.Errorf("number: %d %v", status, answer)
	}
	if status, _ := p.graph(t, "POST", "880090070060050/messages", textTo(marta, "x")); status != 400 {
		t.Errorf("send from an unregistered number: %d", status)
	}
	if status, _ := p.graph(t, "POST", "880090070060050/register", `{"messaging_product":"whatsapp","pin":"654321"}`); status != 400 {
		t.Errorf("wrong pin: %d", status)
	}
	if status, answer := p.graph(t, "POST", "880090070060050/register", `{"messaging_product":"whatsapp","pin":"123456"}`); status != 200 {
		t.Errorf("register: %d %v", status, answer)
	}
	if _, err := p.Write(marta, []byte(`{"session":"demo","text":"unheard"}`)); err != nil {
		t.Fatal(err)
	}
	if status, answer := p.graph(t, "POST", "770010020030040/subscribed_apps", ""); status != 200 {
		t.Errorf("subscribe: %d %v", status, answer)
	}
	if _, answer := p.graph(t, "GET", "770010020030040/subscribed_apps", ""); len(answer["data"].([]any)) != 1 {
		t.Errorf("subscribed: %v", answer)
	}
	if _, err := p.Write(marta, []byte(`{"session":"demo","text":"heard"}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second message", func() bool { return h.distinct() == 1 })

	_, answer := p.call(t, "GET", "/v26.0/debug_token?input_token=system-user", "", "Authorization", "Bearer 4242|"+appSecret)
	data, _ := answer["data"].(map[string]any)
	if data["is_valid"] != true || data["app_id"] != "4242" || data["expires_at"] != 0.0 || len(data["scopes"].([]any)) != 2 {
		t.Errorf("debug_token: %v", answer)
	}
	_, answer = p.graph(t, "GET", "debug_token?input_token=nope", "")
	if data, _ = answer["data"].(map[string]any); data["is_valid"] != false {
		t.Errorf("debug_token of nothing: %v", answer)
	}

	_, answer = p.call(t, "POST", "/control/sessions/demo/code", "")
	q := url.Values{"client_id": {"4242"}, "client_secret": {appSecret}, "code": {answer["code"].(string)}}
	_, answer = p.graph(t, "GET", "oauth/access_token?"+q.Encode(), "")
	fresh, _ := answer["access_token"].(string)
	if status, _ := p.call(t, "GET", "/v26.0/880090070060050", "", "Authorization", "Bearer "+fresh); status != 200 {
		t.Errorf("exchanged token: %d (%v)", status, answer)
	}
	if status, _ := p.graph(t, "GET", "oauth/access_token?"+q.Encode(), ""); status != 400 {
		t.Errorf("a code was exchanged twice: %d", status)
	}
	unix := strconv.FormatInt(time.Now().Unix(), 10)
	for message, want := range map[string]int{"system-user": 400, "system-user|" + unix: 200} {
		mac := hmac.New(sha256.New, []byte(appSecret))
		_, _ = mac.Write([]byte(message)) // a hash does not fail
		q := url.Values{"appsecret_proof": {hex.EncodeToString(mac.Sum(nil))}, "appsecret_time": {unix}}
		if status, answer := p.graph(t, "GET", "880090070060050?"+q.Encode(), ""); status != want {
			t.Errorf("proof over %s: %d %v", message, status, answer)
		}
	}
	p.fault(t, simulator.Fault{Kind: simulator.FaultUsage, Code: 91})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/v26.0/880090070060050", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // only the header matters
	if !strings.Contains(resp.Header.Get("X-App-Usage"), `"call_count":91`) {
		t.Errorf("usage: %v", resp.Header)
	}
}
