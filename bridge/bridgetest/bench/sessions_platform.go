package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// crowd is the least of a Chat API platform with many sessions: each has its
// own numbering, and every send is accepted. It keeps nothing.
type crowd struct {
	addr   string
	secure bool
	server *http.Server

	mu    sync.Mutex
	peers map[string]*peer

	connected, tokens atomic.Int64  // connections now, tokens given
	greeted           atomic.Uint64 // connections ever
	written, acked    atomic.Uint64 // events of all sessions
	accepted          atomic.Uint64 // sends
	epoch             string
}

// peer is one session as its platform sees it, over all connections.
type peer struct {
	acked, written uint64 // of its one reader; of the one who writes events

	mu   sync.Mutex // orders answers with events
	conn *websocket.Conn
}

func (p *peer) write(frame []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn.WriteMessage(websocket.TextMessage, frame)
}

// newCrowd listens on loopback; a secure one speaks TLS, and writes the
// authority that it is trusted by to a file.
func newCrowd(ctx context.Context, secure bool, authority string) (*crowd, error) {
	c := &crowd{secure: secure, peers: make(map[string]*peer), epoch: "e" + strconv.FormatInt(time.Now().UnixNano(), 10)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		c.tokens.Add(1)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"bench","token_type":"Bearer","expires_in":86400}`)
	})
	up := websocket.Upgrader{
		Subprotocols: []string{"cloudevents.json"}, ReadBufferSize: 1 << 10, WriteBufferSize: 4 << 10, WriteBufferPool: &sync.Pool{},
		CheckOrigin: func(*http.Request) bool { return true },
	}
	mux.HandleFunc("GET /ws/{session}", func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c.serve(r.PathValue("session"), conn)
	})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.addr = l.Addr().String()
	if secure {
		certificate, err := issue(authority)
		if err != nil {
			return nil, err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	}
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = c.server.Serve(l) }() // ends with close
	return c, nil
}

// issue makes a certificate for loopback that is its own authority.
func issue(path string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// url is where its sessions connect, or, with http, where tokens are.
func (c *crowd) url(scheme, path string) string {
	if c.secure {
		scheme += "s"
	}
	return scheme + "://" + c.addr + path
}

// close ends every connection.
func (c *crowd) close() error {
	err := c.server.Close()
	c.disconnect()
	return err
}

// disconnect cuts every connection, as a platform that falls does.
func (c *crowd) disconnect() {
	for _, p := range c.all() {
		p.mu.Lock()
		_ = p.conn.Close() // closed already where the other end was sooner
		p.mu.Unlock()
	}
}

// all lists the sessions that have ever connected.
func (c *crowd) all() []*peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.peers))
}

// join makes conn the connection of a session and greets it.
func (c *crowd) join(id string, conn *websocket.Conn) (*peer, error) {
	c.mu.Lock()
	p := c.peers[id]
	if p == nil {
		p = &peer{}
		c.peers[id] = p
	}
	c.mu.Unlock()
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	return p, p.write([]byte(`{"specversion":"1.0","id":"r","source":"/bench","type":"whatsapp.session.ready","data":{"session":"` + id +
		`","epoch":"` + c.epoch + `","scopes":["whatsapp_business_messaging","whatsapp_business_management"],"window":` +
		strconv.Itoa(window) + `,"phone_number_id":"880090070060050","display_phone_number":"15550199001"}}`))
}

func (c *crowd) serve(id string, conn *websocket.Conn) {
	defer func() { _ = conn.Close() }() // its reader is gone
	p, err := c.join(id, conn)
	if err != nil {
		return
	}
	c.connected.Add(1)
	c.greeted.Add(1)
	defer c.connected.Add(-1)
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil || c.heard(p, frame) != nil {
			return
		}
	}
}

// heard takes an ack, or answers a send.
func (c *crowd) heard(p *peer, frame []byte) error {
	head := frame[:min(len(frame), 300)]
	switch {
	case bytes.Contains(head, []byte(`"whatsapp.ack"`)):
		text := member(frame, `"data":{"sequence":"`)
		n, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil {
			return err
		}
		if n > p.acked {
			c.acked.Add(n - p.acked)
			p.acked = n
		}
	case bytes.Contains(head, []byte(`"whatsapp.send"`)):
		ref := string(member(frame, `"id":"`))
		answer := `{"specversion":"1.0","id":"a","source":"/bench","type":"whatsapp.result","data":{"ref":"` + ref +
			`","messages":[{"id":"wamid.` + ref + `"}],"duplicate":false}}`
		if err := p.write([]byte(answer)); err != nil {
			return err
		}
		c.accepted.Add(1)
	}
	return nil
}

// event writes the next event, of about 512 bytes, of the i-th session.
func (c *crowd) event(p *peer, i int) error {
	p.written++
	id := fmt.Sprintf("%d-%d", i, p.written)
	from := strconv.Itoa(15550000000 + int(c.written.Add(1)%conversations))
	return p.write(fmt.Appendf(nil, `{"specversion":"1.0","id":"%s","source":"/bench","type":"whatsapp.message.text","time":"2026-11-28T00:00:00Z","sequence":"%020d",`+
		`"data":{"message":{"from":"%s","id":"wamid.%s","timestamp":"1795430000","type":"text","text":{"body":"%s"}},`+
		`"contact":{"profile":{"name":"Marta"},"wa_id":"%s"},"metadata":{"display_phone_number":"15550199001","phone_number_id":"880090070060050"}}}`,
		id, p.written, from, id, strings.Repeat("x", 200), from))
}
