package stack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/app"
	"wabridge/bridge/bridgetest"
)

// sign is a webhook's signature with the app's secret.
func sign(body []byte) string {
	mac := hmac.New(sha256.New, []byte(appSecret))
	_, _ = mac.Write(body) // a hash does not fail
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// webhook is a request with one text message.
func webhook(phone, id, from, text string) []byte {
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"%s","changes":[{"value":{"messaging_product":"whatsapp",`+
		`"metadata":{"display_phone_number":"15550199001","phone_number_id":"%s"},"contacts":[{"profile":{"name":"Marta"},"wa_id":"%s"}],`+
		`"messages":[{"from":"%s","id":"%s","timestamp":"%d","type":"text","text":{"body":"%s"}}]},"field":"messages"}]}]}`,
		corpusWABA, phone, from, from, id, time.Now().Unix(), text)
}

// raw speaks HTTP by hand: it writes what is given, half-closes where asked to,
// and returns the status; 0 where the connection ends without one.
func raw(t testing.TB, url, head string, body []byte, end bool) int {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/webhook"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it was read to its end
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write(append([]byte(head), body...)) // it may be refused before its end
	if end {
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body) // only the status counts
	_ = resp.Body.Close()                 // the same
	return resp.StatusCode
}

// What is not a webhook of Meta's is refused with the status that says why, is
// counted, leaves nothing behind, and shows nothing in the log.
func TestCloudRefusals(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	admin := bridgetest.FreeAddr(t)
	s := New(t, Config{
		Platform: bridge.PlatformCloudAPI, Simulator: corpusNumber, Log: &log,
		App: func(c *app.Config) { c.AdminAddr = admin },
	})
	recv := s.Follow(t, s.Names.RecvStream(), s.Names.Recv("*"))
	good := webhook(corpusPhone, "wamid.good", "15550142233", "a word that nobody may read")
	signature := sign(good)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(good); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	huge := bytes.Repeat([]byte(" "), 3<<20+1)
	head := func(lines ...string) string {
		return "POST /webhook HTTP/1.1\r\nHost: meta\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	json, signed := "Content-Type: application/json", "X-Hub-Signature-256: "+signature
	length := func(n int) string { return fmt.Sprintf("Content-Length: %d", n) }
	direct := "http://" + s.front.replicas[0] + "/webhook"
	requests := []struct {
		name, head string
		body       []byte
		end        bool
		status     int
	}{
		{"forged", head(json, length(len(good)), "X-Hub-Signature-256: sha256="+strings.Repeat("0", 64)), good, false, 401},
		{"signed by another app", head(json, length(len(huge)), strings.Replace(signed, "sha256=", "sha1=", 1)), nil, false, 401},
		{"unsigned", head(json, length(len(good))), good, false, 401},
		{"not the bytes that were signed", head(json, length(len(good)+1), signed), append(slices.Clone(good), ' '), false, 401},
		{"truncated", head(json, length(len(good)+50), signed), good, true, 400},
		{"too large, as it says", head(json, length(len(huge)), signed), nil, false, 413},
		{"too large, as it turns out", head(json, "Transfer-Encoding: chunked", signed), append([]byte("300001\r\n"), huge...), false, 413},
		{"slow", head(json, length(len(good)), signed), good[:100], false, 408},
		{"compressed", head(json, "Content-Encoding: gzip", length(zipped.Len()), signed), zipped.Bytes(), false, 415},
		{"another charset", head(json+"; charset=utf-16", length(len(good)), signed), good, false, 415},
		{"a form", head("Content-Type: application/x-www-form-urlencoded", length(len(good)), signed), good, false, 415},
		{"another path", strings.Replace(head(json, length(len(good)), signed), "/webhook", "/webhooks", 1), good, false, 404},
		{"another app", strings.Replace(head(json, length(len(good)), signed), "/webhook", "/webhook/1", 1), good, false, 404},
		{"another method", strings.Replace(head(json, length(0)), "POST", "PUT", 1), nil, false, 405},
		{"a handshake of strangers", strings.Replace(head(), "POST /webhook", "GET /webhook?hub.mode=subscribe&hub.challenge=1&hub.verify_token=x", 1), nil, false, 403},
	}
	t.Run("refused", func(t *testing.T) {
		for _, c := range requests {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if status := raw(t, direct, c.head, c.body, c.end); status != c.status {
					t.Errorf("status %d, want %d", status, c.status)
				}
			})
		}
	})
	if status := s.post(t, good, signature); status != http.StatusOK {
		t.Errorf("the good one: status %d", status)
	}
	// A replay is Meta's own habit: it is taken, and stored once.
	if status := s.post(t, good, signature); status != http.StatusOK {
		t.Errorf("the good one again: status %d", status)
	}
	if got := recv.Next(t).Headers().Get("Nats-Msg-Id"); got != Demo+":wamid.good" {
		t.Errorf("stored %s", got)
	}
	recv.Quiet(t, 200*time.Millisecond)
	if n := len(s.stored(t, s.Names.DeadStream(), s.Names.Dead("*"))); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	for _, secret := range []string{appSecret, systemToken, verifyToken, "15550142233", "a word that nobody may read"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	counted := make(map[string]string)
	for _, line := range scrape(t, admin) {
		if found := regexp.MustCompile(`^wabridge_webhook_refused_total\{.*reason="([a-z_]+)".*\} (\d+)$`).FindStringSubmatch(line); found != nil {
			counted[found[1]] = found[2]
		}
	}
	for reason, n := range map[string]string{
		"signature": "4", "truncated": "1", "too_large": "2", "slow": "1", "content_type": "3", "path": "2", "method": "1", "verify_token": "1",
	} {
		if counted[reason] != n {
			t.Errorf("%s refusals are counted as %q", n+" "+reason, counted[reason])
		}
	}
}

// A flood of forged requests keeps no good one out.
func TestCloudFlood(t *testing.T) {
	t.Parallel()
	const forged, good = 1000, 100
	s := New(t, Config{Platform: bridge.PlatformCloudAPI, Simulator: corpusNumber})
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for i := range forged / 8 {
				body := webhook(corpusPhone, fmt.Sprintf("wamid.forged%d", i), "15550142233", "x")
				if status := s.post(t, body, "sha256="+strings.Repeat("ab", 32)); status != http.StatusUnauthorized {
					t.Errorf("a forged one: status %d", status)
				}
			}
		})
	}
	var took []time.Duration
	for i := range good {
		body := webhook(corpusPhone, fmt.Sprintf("wamid.good%d", i), "15550142233", "x")
		from := time.Now()
		if status := s.post(t, body, sign(body)); status != http.StatusOK {
			t.Errorf("a good one: status %d", status)
		}
		took = append(took, time.Since(from))
	}
	flood.Wait()
	slices.Sort(took)
	t.Logf("a good request among forged ones took %v, 99 %% at most %v", took[good/2], took[good*99/100])
	if n := len(s.stored(t, s.Names.RecvStream(), s.Names.Recv(Demo))); n != good {
		t.Errorf("%d messages are stored, want the %d good ones", n, good)
	}
}
