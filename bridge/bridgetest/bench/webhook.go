package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	hookSecret = "the-secret-of-the-app"
	hookPhone  = "880090070060050"
	hookWABA   = "770010020030040"
	hookApp    = "990000000000001"
	hookToken  = "EAA-bench"
)

func hookSignature(body []byte) string {
	mac := hmac.New(sha256.New, []byte(hookSecret))
	_, _ = mac.Write(body) // a hash does not fail
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// floorWebhooks: read a request, verify its signature, publish it under the id
// of its message, answer when JetStream has it.
func floorWebhooks(ctx context.Context, natsURL, addr string) error {
	js, err := floorJetStream(natsURL)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !hmac.Equal([]byte(hookSignature(body)), []byte(r.Header.Get("X-Hub-Signature-256"))) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		future, err := js.PublishMsgAsync(&nats.Msg{Subject: "wa.recv." + session, Data: body, Header: nats.Header{
			"Nats-Msg-Id": {string(member(body, `"id":"wamid.`))},
		}})
		if err == nil {
			select {
			case <-future.Ok():
			case err = <-future.Err():
			}
		}
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusOK)
	})}
	return server.Serve(l)
}

// poster posts webhooks of one message over one connection, by hand: what it
// costs is not to be part of what is measured.
type poster struct {
	conn   net.Conn
	in     *bufio.Reader
	body   bytes.Buffer
	buffer bytes.Buffer
}

func newPoster(ctx context.Context, addr string) (*poster, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &poster{conn: conn, in: bufio.NewReader(conn)}, nil
}

// message writes the body of message i.
func (p *poster) message(run string, i uint64) {
	peer := 15550000000 + i%conversations
	p.body.Reset()
	fmt.Fprintf(&p.body, `{"object":"whatsapp_business_account","entry":[{"id":"%s","changes":[{"value":{"messaging_product":"whatsapp",`+
		`"metadata":{"display_phone_number":"15550199001","phone_number_id":"%s"},"contacts":[{"profile":{"name":"Marta"},"wa_id":"%d"}],`+
		`"messages":[{"from":"%d","id":"wamid.%s%d","timestamp":"%d","type":"text","text":{"body":"%s"}}]},"field":"messages"}]}]}`,
		hookWABA, hookPhone, peer, peer, run, i, time.Now().Unix(), hookPadding)
}

var hookPadding = string(bytes.Repeat([]byte("x"), 180))

// post sends the body and returns the status of the answer.
func (p *poster) post(signature string) (int, error) {
	p.buffer.Reset()
	fmt.Fprintf(&p.buffer, "POST /webhook HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n",
		signature, p.body.Len())
	p.buffer.Write(p.body.Bytes())
	if _, err := p.conn.Write(p.buffer.Bytes()); err != nil {
		return 0, err
	}
	return p.answer()
}

// answer reads one answer with its body.
func (p *poster) answer() (int, error) {
	line, err := p.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, errors.New("what is this answer")
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, err
	}
	length := 0
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			_, err := p.in.Discard(length)
			return status, err
		}
		if value, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
}

// graph is the least of a Graph API that lets a session connect.
func graph(ctx context.Context) (addr string, stop func() error, err error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"success":true,"data":{"app_id":"`+hookApp+`","is_valid":true,"expires_at":0,`+
			`"scopes":["whatsapp_business_messaging","whatsapp_business_management"]}}`)
	})}
	go func() { _ = server.Serve(l) }() // ends with stop
	return l.Addr().String(), server.Close, nil
}

// freeAddress is an address that nobody listens at.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// forgetPeak lets the peak of a process's memory begin at what it has now.
func (p *process) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}
