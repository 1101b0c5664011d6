package cloudapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"wabridge/bridge"
)

func TestExchange(t *testing.T) {
	server := newGraphServer(t)
	server.answer(t, "GET access_token", 200, corpus(t, "response/oauth_access_token_ok.json"))
	g := server.client(t, func(c *GraphConfig) { c.Token = nil })
	token, err := g.Exchange(t.Context(), "a code")
	if err != nil {
		t.Fatal(err)
	}
	if token.AccessToken != "EAATESTTOKENxxxxxxxxxxxxxxxx" || time.Until(token.Expiry) < 59*24*time.Hour {
		t.Errorf("token %v", token)
	}
	r := <-server.requests
	query, err := url.ParseQuery(r.query)
	if err != nil || r.path != "/v26.0/oauth/access_token" || query.Get("client_id") != testApp ||
		query.Get("client_secret") != testSecret || query.Get("code") != "a code" || r.header.Get("Authorization") != "" {
		t.Errorf("%s?%s: %v", r.path, r.query, err)
	}
}

func TestExchangeFailsOnceAndTellsNothing(t *testing.T) {
	server := newGraphServer(t)
	server.on("GET access_token", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	g := server.client(t, func(c *GraphConfig) { c.Token = nil })
	_, err := g.Exchange(t.Context(), "the-code")
	if err == nil || strings.Contains(err.Error(), "the-code") || strings.Contains(err.Error(), testSecret) {
		t.Errorf("error %v", err)
	}
	if n := server.count("GET access_token"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if _, err := g.Exchange(t.Context(), ""); err == nil {
		t.Error("taken")
	}
}

func TestRegister(t *testing.T) {
	server := newGraphServer(t)
	server.answer(t, "POST register", 200, []byte(`{"success":true}`))
	g := server.client(t)
	if err := g.Register(t.Context(), testPhone, "123456"); err != nil {
		t.Fatal(err)
	}
	r := <-server.requests
	equalJSON(t, r.body, []byte(`{"messaging_product":"whatsapp","pin":"123456"}`))
	for _, bad := range [][2]string{{"../x", "123456"}, {testPhone, "12345"}, {testPhone, "12345a"}} {
		if err := g.Register(t.Context(), bad[0], bad[1]); err == nil || strings.Contains(err.Error(), bad[1]) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	server.answer(t, "POST register", 400, []byte(`{"error":{"code":133005,"message":"Two step verification PIN mismatch"}}`))
	if err := g.Register(t.Context(), testPhone, "123456"); err == nil || !strings.Contains(err.Error(), "133005") {
		t.Errorf("error %v", err)
	}
}

func TestCheck(t *testing.T) {
	server := newGraphServer(t)
	server.answer(t, "GET subscribed_apps", 200, fmt.Appendf(nil, `{"data":[{"whatsapp_business_api_data":{"id":%q}}]}`, testApp))
	g := server.client(t)
	for _, f := range g.Check(t.Context(), testPhone, testWABA) {
		if !f.OK {
			t.Errorf("%+v", f)
		}
	}
	server.answer(t, "GET debug_token", 200, inspected(`"scopes":["whatsapp_business_messaging"],"granular_scopes":[{"scope":"whatsapp_business_messaging","target_ids":["1"]}]`))
	server.answer(t, "GET subscribed_apps", 200, []byte(`{"data":[]}`))
	server.answer(t, "GET "+testPhone, 200, []byte(`{"platform_type":"NOT_APPLICABLE"}`))
	var words []string
	for _, f := range g.Check(t.Context(), testPhone, testWABA) {
		if !f.OK {
			words = append(words, f.What+": "+f.Detail)
		}
	}
	all := strings.Join(words, "\n")
	for _, want := range []string{
		"scope whatsapp_business_messaging: granted, but not for this", "scope whatsapp_business_management: missing",
		"webhook subscription: the app is not subscribed", "phone number: not on the Cloud API",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	server.answer(t, "GET debug_token", 200, corpus(t, "response/debug_token_invalid.json"))
	if f := g.Check(t.Context(), "+1555", ""); f[0].OK || !strings.Contains(f[0].Detail, "190") || f[len(f)-1].OK {
		t.Errorf("%+v", f)
	}
	none := server.client(t, func(c *GraphConfig) { c.Token = nil })
	for _, f := range none.Check(t.Context(), testPhone, testWABA) {
		if f.OK {
			t.Errorf("%+v", f)
		}
	}
}

// writePair makes a certificate for 127.0.0.1 in two files.
func writePair(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A file system's clock may be too coarse to tell two writes apart.
	at := time.Now().Add(time.Duration(serial) * time.Second)
	if err := os.Chtimes(cert, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, ServerConfig{Handler: http.NotFoundHandler(), CertFile: cert, KeyFile: key, Logger: quiet()})
	}()
	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // a test's end
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d", got)
	}
	writePair(t, cert, key, 2)
	if got := serial(); got != 2 {
		t.Errorf("serial %d after the renewal", got)
	}
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("serial %d after a broken renewal", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), l, ServerConfig{Handler: http.NotFoundHandler(), CertFile: cert, KeyFile: key}); err == nil {
		t.Error("a broken certificate was taken")
	}
}

func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(context.WithoutCancel(t.Context())) //nolint:errcheck // a test's end
	meter := provider.Meter("test")
	h := startHooks(t, func(c *WebhooksConfig) { c.Meter = meter })
	server := newGraphServer(t)
	s := start(t, server.client(t), func(c *Config) { c.Meter = meter })
	s.host.state(t, bridge.Connected)
	body := message(testPhone, "wamid.1", `"x"`)
	h.post(t, body)
	h.post(t, body, signatureHeader, "sha256=00")
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wabridge.webhook.refused", "wabridge.webhook.parts", "wabridge.token.valid", "wabridge.token.expiry"} {
		if !strings.Contains(string(raw), name) {
			t.Errorf("no %s", name)
		}
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if m.Name != "wabridge.webhook.refused" {
			continue
		}
		sum, ok := m.Data.(metricdata.Sum[int64])
		if !ok || len(sum.DataPoints) != len(refusals()) {
			t.Fatalf("%+v", m.Data)
		}
		for _, point := range sum.DataPoints {
			reason, _ := point.Attributes.Value("reason")
			want := int64(0)
			if reason.AsString() == string(refusedSignature) {
				want = 1
			}
			if point.Value != want {
				t.Errorf("%s: %d", reason.AsString(), point.Value)
			}
		}
	}
}
