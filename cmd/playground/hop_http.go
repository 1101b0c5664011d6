package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"wabridge/bridge"
)

const (
	// pageRows is how many records a page gets at once.
	pageRows = 300
	// pagePause lets news gather while much happens.
	pagePause = 40 * time.Millisecond
	// pageAlive is how often a silent stream says that it lives.
	pageAlive = 15 * time.Second
	maxBody   = 2 << 20
)

// handler serves /hop/ to the page. It keeps no other origin out: who mounts it
// does.
func (h *hop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hop/info", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"nats": h.url, "prefix": h.names.Prefix()})
	})
	mux.HandleFunc("GET /hop/stream", h.serveStream)
	mux.HandleFunc("GET /hop/messages/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("n"))
		if o, ok := h.find(n); ok && err == nil {
			answer(w, http.StatusOK, o)
			return
		}
		answer(w, http.StatusNotFound, map[string]string{"error": "that message is no longer kept here; JetStream still has it"})
	})
	mux.HandleFunc("GET /hop/traces/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		answer(w, http.StatusOK, map[string]any{"spans": h.spans.trace(id), "messages": h.of(id)})
	})
	mux.HandleFunc("POST /hop/publish", h.servePublish)
	return mux
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may have left
}

// serveStream tells what happens, as server-sent events, from where the page
// was when it lost the stream.
func (h *hop) serveStream(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	alive := time.NewTicker(pageAlive)
	defer alive.Stop()
	pause := time.NewTicker(pagePause)
	defer pause.Stop()
	last, version := 0, 0
	if n, err := strconv.Atoi(r.FormValue("after")); err == nil && r.FormValue("boot") == h.boot {
		last = n
	}
	for {
		list, counts, news := h.after(last, pageRows)
		traces, now := h.spans.since(version)
		if len(list) > 0 {
			last = list[len(list)-1].N
		}
		version = now
		if b, err := json.Marshal(map[string]any{"boot": h.boot, "messages": list, "counts": counts, "traces": traces}); err == nil {
			if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
				return // the page has left
			}
		}
		if rc.Flush() != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-news:
				waiting = false
			case <-alive.C:
				if _, err := fmt.Fprint(w, ": alive\n\n"); err != nil || rc.Flush() != nil {
					return
				}
			case <-r.Context().Done():
				return
			case <-h.done:
				return
			}
		}
		select {
		case <-pause.C:
		case <-r.Context().Done():
			return
		case <-h.done:
			return
		}
	}
}

// servePublish publishes a command as it is typed, right or wrong.
func (h *hop) servePublish(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Session string `json:"session"`
		Body    string `json:"body"`
		ID      string `json:"id"` // Nats-Msg-Id; "" is none
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "reading the request: " + err.Error()})
		return
	}
	if !bridge.ValidID(q.Session) {
		answer(w, http.StatusBadRequest, map[string]string{"error": "a session id is 1 to 64 letters, digits, _ or -"})
		return
	}
	ack, err := h.publish(r.Context(), q.Session, q.ID, []byte(q.Body))
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]any{"stream": ack.Stream, "sequence": ack.Sequence, "duplicate": ack.Duplicate})
}

// publish stores a command, with a span that begins its trace.
func (h *hop) publish(ctx context.Context, session, id string, body []byte) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	template := h.names.Send("{session}")
	ctx, span := h.own.Tracer("wabridge/cmd/playground").Start(ctx, "send "+template, trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationName("send"), semconv.MessagingOperationTypeSend,
			semconv.MessagingDestinationName(h.names.Send(session)), semconv.MessagingDestinationTemplate(template)))
	defer span.End()
	m := nats.NewMsg(h.names.Send(session))
	m.Data = bytes.Clone(body)
	if id != "" {
		m.Header.Set(nats.MsgIdHdr, id)
	}
	propagation.TraceContext{}.Inject(ctx, bridge.Carrier(m.Header))
	ack, err := h.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		span.SetStatus(codes.Error, "not stored")
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
			return nil, errNotStored
		}
		return nil, fmt.Errorf("publishing: %w", err)
	}
	return ack, nil
}
