// Command relay joins a session to another channel that speaks HTTP: what users
// write is posted to URL as a CloudEvent, in order, until it is taken (2xx); what
// is posted to http://LISTEN/messages is sent. Both sides show the same TOKEN.
//
//	SESSION=demo URL=https://chat.example/whatsapp LISTEN=127.0.0.1:8070 TOKEN=… go run ./deploy/recipes/relay
//	curl -H "Authorization: Bearer $TOKEN" -H 'Idempotency-Key: 17' 127.0.0.1:8070/messages -d '{"to":"+15550142233","text":"hi"}'
package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"wabridge/deploy/recipes/chat"
)

const (
	patience = 10 * time.Second
	largest  = 1 << 20
)

// relay is what the two directions share.
type relay struct {
	line       chat.Line
	url, token string
	client     http.Client
}

func main() {
	chat.Main(func(ctx context.Context, line chat.Line) error {
		r := &relay{line: line, url: os.Getenv("URL"), token: os.Getenv("TOKEN"), client: http.Client{Timeout: patience}}
		if r.url == "" || r.token == "" {
			return errors.New("want URL, LISTEN and TOKEN")
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", os.Getenv("LISTEN"))
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		return r.run(ctx, l)
	})
}

func (r *relay) run(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /messages", r.take)
	server := &http.Server{Handler: mux, ReadTimeout: patience, WriteTimeout: patience}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	err := r.line.Follow(ctx, "relay-"+r.line.Session, r.post)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err = errors.Join(err, server.Shutdown(stopping))
	if failure := <-served; !errors.Is(failure, http.ErrServerClosed) {
		err = errors.Join(err, failure)
	}
	return err
}

// post gives the other channel a message. Its CloudEvents headers mean the same
// in HTTP, and ce-id tells it what it has had already.
func (r *relay) post(ctx context.Context, m chat.Message) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(m.Data))
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	for name, values := range m.Header {
		if strings.HasPrefix(name, "ce-") || name == "traceparent" {
			request.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+r.token)
	answer, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("posting: %w", err)
	}
	defer func() { _ = answer.Body.Close() }() // nothing of it is needed
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("posting: the channel answers %d", answer.StatusCode)
	}
	return nil
}

// take sends what the other channel posts. It answers 202 once the command is
// stored; anything else may be posted again, with the same key.
func (r *relay) take(w http.ResponseWriter, request *http.Request) {
	token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
	key := request.Header.Get("Idempotency-Key")
	if subtle.ConstantTimeCompare([]byte(token), []byte(r.token)) != 1 {
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, largest))
	var command map[string]any
	if err != nil || key == "" || json.Unmarshal(body, &command) != nil {
		http.Error(w, "want a command in JSON and an Idempotency-Key", http.StatusBadRequest)
		return
	}
	if err := r.line.Send(request.Context(), "relay:"+key, chat.Message{}, command); err != nil {
		r.line.Log.Warn("a message was not stored", "error", err)
		http.Error(w, "not stored: post it again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
