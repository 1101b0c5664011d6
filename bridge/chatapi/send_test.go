package chatapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"wabridge/bridge"
	"wabridge/codec"
)

// class waits for a result of the class.
func class(t *testing.T, results chan bridge.Result, want codec.Class) bridge.Result {
	t.Helper()
	result := receive(t, results, "a result")
	if result.Class != want {
		t.Errorf("result %+v, want class %v", result, want)
	}
	return result
}

func TestSendAndResult(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	results := s.send(`order "1"`)
	e := c.read(typeSend)
	if e.ID != `order "1"` || string(e.Data) != `{"messaging_product":"whatsapp","to":"+15550142233","type":"text","text":{"body":"hi"}}` {
		t.Errorf("wrote %+v", e)
	}
	c.result(`{"ref":"order \"1\"","messages":[{"id":"wamid.X"}],"duplicate":true}`)
	if result := class(t, results, codec.Accepted); result.ID != "wamid.X" || !result.Duplicate {
		t.Errorf("result %+v", result)
	}
	// A second answer and one to nothing are no one's.
	c.accepted(`order "1"`)
	c.accepted("other")
	results = s.send("order-2")
	c.read(typeSend)
	c.result(`{"ref":"order-2","error":{"code":130429,"message":"Rate limit hit"},"retry_after":7}`)
	result := class(t, results, codec.Throttled)
	if result.Wait != 7*time.Second || result.Scope != codec.ScopeSession || result.Error.Code != 130429 {
		t.Errorf("result %+v", result)
	}
}

func TestVerbHasNoMessageID(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	results := s.send("read")
	c.read(typeSend)
	c.result(`{"ref":"read","messages":[],"duplicate":false}`)
	class(t, results, codec.Accepted)
}

func TestTraceOf(t *testing.T) {
	const head = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	for parent, want := range map[string]bool{
		head + "01": true, head + "0b": true, head + "ff": true, head + "00": false, head + "02": false, head + "0a": false,
	} {
		if got, _, sampled := traceOf(&bridge.Outgoing{TraceParent: parent}); got != parent || sampled != want {
			t.Errorf("%s: %s, sampled %v", parent, got, sampled)
		}
	}
	for _, parent := range []string{
		"", head, head + "0", head + "011", "01" + head[2:] + "01", strings.ToUpper(head) + "01", head + "0-", head + "0g",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
	} {
		if got, _, sampled := traceOf(&bridge.Outgoing{TraceParent: parent, TraceState: "a=b"}); got != "" || sampled {
			t.Errorf("%s passes as %s", parent, got)
		}
	}
}

func TestSendRefusedBeforeWriting(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	class(t, s.send("early"), codec.Transient)
	c := p.ready(t)
	s.connected(t)
	first := s.send("same")
	class(t, s.send("same"), codec.Transient)
	for i := range 7 {
		s.send(fmt.Sprint(i))
	}
	if result := class(t, s.send("ninth"), codec.Transient); !strings.Contains(result.Reason, "window") {
		t.Errorf("reason %q", result.Reason)
	}
	c.read(typeSend)
	c.accepted("same")
	class(t, first, codec.Accepted)
	s.send("ninth")
	for e := c.read(typeSend); e.ID != "ninth"; e = c.read(typeSend) {
		if e.ID == "same" {
			t.Error("a ref was written twice")
		}
	}
}

func TestTooBigForAFrame(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	results := make(chan bridge.Result, 1)
	s.Send(&bridge.Outgoing{
		Ref: "big", Body: []byte(`{"x":"` + strings.Repeat("x", codec.MaxFrame) + `"}`),
		Done: func(r bridge.Result) { results <- r },
	})
	class(t, results, codec.Invalid)
	s.send("small")
	if e := c.read(typeSend); e.ID != "small" {
		t.Errorf("wrote %s", e.ID)
	}
}

func TestUnansweredIsUnknownAndReconnects(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.AnswerTimeout = 200 * time.Millisecond })
	c := p.ready(t)
	s.connected(t)
	one := s.send("one")
	class(t, one, codec.Unknown)
	c.ended()
	c = p.ready(t)
	s.connected(t)
	again := s.send("one")
	c.read(typeSend)
	c.accepted("one")
	class(t, again, codec.Accepted)
	if len(one) != 0 {
		t.Error("done twice")
	}
}

func TestLostConnectionSettlesSends(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	written := s.send("written")
	c.read(typeSend)
	c.cut()
	class(t, written, codec.Unknown)
}

func TestTooBigForThePlatform(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	only := s.send("only")
	c.read(typeSend)
	c.close(int(CloseTooBig), "")
	if result := class(t, only, codec.Invalid); !strings.Contains(result.Reason, "1009") {
		t.Errorf("reason %q", result.Reason)
	}
	// Several can be meant: they go one at a time until it is found.
	c = p.ready(t)
	s.connected(t)
	both := []chan bridge.Result{s.send("good"), s.send("big")}
	c.read(typeSend)
	c.read(typeSend)
	c.close(int(CloseTooBig), "")
	for _, results := range both {
		class(t, results, codec.Unknown)
	}
	c = p.ready(t)
	s.connected(t)
	if n := s.Window(); n != 1 {
		t.Errorf("window %d", n)
	}
	good := s.send("good")
	class(t, s.send("big"), codec.Transient)
	c.read(typeSend)
	c.accepted("good")
	class(t, good, codec.Accepted)
	big := s.send("big")
	c.read(typeSend)
	c.close(int(CloseTooBig), "")
	class(t, big, codec.Invalid)
	p.ready(t)
	eventually(t, "the window is wide again", func() bool { return s.Window() == 8 })
}

func TestTokenRefusedInAnAnswer(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	results := s.send("order")
	c.read(typeSend)
	c.result(`{"ref":"order","error":{"code":190,"type":"OAuthException"}}`)
	class(t, results, codec.Unauthorized)
	c.ended()
	if got := p.ready(t).header.Get("Authorization"); got != "Bearer secret-token-2" {
		t.Errorf("authorization %s", got)
	}
	s.connected(t)
}

// An account that may not send keeps its connection, for what users write, and
// sends nothing until someone resumes it, over a reconnect too.
func TestAccountThatMayNotSend(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	first, second := s.send("order-1"), s.send("order-2")
	c.read(typeSend)
	c.read(typeSend)
	c.result(`{"ref":"order-1","error":{"code":368,"message":"Temporarily blocked for policies violations"}}`)
	class(t, first, codec.Denied)
	if n := s.Window(); n != 0 {
		t.Errorf("window %d", n)
	}
	change := s.in(t, bridge.Forbidden)
	if change.Class != codec.Denied || !strings.Contains(change.Reason, "368") || strings.Contains(change.Reason, "policies") {
		t.Errorf("change %+v", change)
	}
	class(t, s.send("order-3"), codec.Transient)
	// What was written before is answered, and messages arrive.
	c.accepted("order-2")
	class(t, second, codec.Accepted)
	c.message(1)
	c.acked(1)
	c.greet(strings.Replace(readyData, `"window":8`, `"window":9`, 1))
	c.close(int(CloseGoingAway), "")
	c = p.ready(t)
	eventually(t, "forbidden after the reconnect", func() bool {
		return s.host.states() == "connecting connected forbidden disconnected forbidden"
	})
	class(t, s.send("order-4"), codec.Transient)
	s.Resume()
	s.connected(t)
	if n := s.Window(); n != 8 {
		t.Errorf("window %d", n)
	}
	again := s.send("order-1")
	c.read(typeSend)
	c.accepted("order-1")
	class(t, again, codec.Accepted)
	// While nothing is refused, a resume changes nothing.
	s.Resume()
	last := s.send("order-5")
	c.read(typeSend)
	c.accepted("order-5")
	class(t, last, codec.Accepted)
	if states := s.host.states(); !strings.HasSuffix(states, "forbidden connected") {
		t.Errorf("states: %s", states)
	}
}

// A file that is gone condemns its own message and not the account.
func TestFileThatIsGone(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	results := make(chan bridge.Result, 1)
	s.Send(&bridge.Outgoing{
		Ref: "photo", Type: "image", Body: []byte(`{"to":"+15550142233","type":"image","image":{"id":"1"}}`),
		Done: func(r bridge.Result) { results <- r },
	})
	c.read(typeSend)
	c.result(`{"ref":"photo","error":{"code":100,"error_subcode":33}}`)
	class(t, results, codec.Permanent)
	if n := s.Window(); n != 8 {
		t.Errorf("window %d", n)
	}
}

func TestTokenIsRenewedOnTheLiveConnection(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.Tokens = &tokens{life: 300 * time.Millisecond} })
	c := p.ready(t)
	s.connected(t)
	for i := 2; i < 5; i++ {
		e := c.read(typeToken)
		var data struct {
			AccessToken string `json:"access_token"`
		}
		if err := json.Unmarshal(e.Data, &data); err != nil || data.AccessToken != fmt.Sprintf("secret-token-%d", i) {
			t.Errorf("wrote %s: %v", e.Data, err)
		}
		c.greet()
	}
	if n := p.count(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestTokenThatIsNotAnswered(t *testing.T) {
	p := newPlatform(t)
	source := &tokens{life: 50 * time.Millisecond}
	s := start(t, p, func(c *Config) { c.Tokens, c.AnswerTimeout = source, 200*time.Millisecond })
	c := p.ready(t)
	s.connected(t)
	c.read(typeToken)
	source.set(func(s *tokens) { s.fixed = true })
	c.ended()
	p.ready(t)
	eventually(t, "reconnected", func() bool { return s.host.states() == "connecting connected disconnected connected" })
}

func TestRenewalLosesTheScope(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	c.greet(`{"session":"shop","epoch":"e1","scopes":[],"window":8}`)
	s.in(t, bridge.Forbidden)
	c.ended()
}

func TestWindowFollowsThePlatform(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	c := p.ready(t)
	s.connected(t)
	wakes := func() int { s.host.mu.Lock(); defer s.host.mu.Unlock(); return s.host.wakes }
	before := wakes()
	c.greet(strings.Replace(readyData, `"window":8`, `"window":99`, 1))
	eventually(t, "a wider window", func() bool { return s.Window() == 99 && wakes() > before })
}

func TestGracefulEnd(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.CloseTimeout = patience })
	s.host.set(func(h *host) { h.hold = true })
	c := p.ready(t)
	s.connected(t)
	c.message(1)
	eventually(t, "taken", func() bool { return s.host.got() == "1:1" })
	results := s.send("order")
	c.read(typeSend)
	s.stop()
	eventually(t, "a closed window", func() bool { return s.Window() == 0 })
	class(t, s.send("late"), codec.Transient)
	c.message(2) // for whoever has the session next
	c.accepted("order")
	class(t, results, codec.Accepted)
	s.host.store()
	c.acked(1)
	if code := c.ended(); code != int(CloseGoingAway) {
		t.Errorf("closed with %d", code)
	}
	receive(t, s.done, "the end of Run")
	if got := s.host.got(); got != "1:1" {
		t.Errorf("took %s", got)
	}
}

func TestEndIsBounded(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p)
	block := make(chan struct{})
	defer close(block)
	s.host.set(func(h *host) { h.block = block })
	c := p.ready(t)
	s.connected(t)
	c.message(1)
	results := s.send("order")
	c.read(typeSend)
	s.stop()
	receive(t, s.done, "the end of Run")
	class(t, results, codec.Unknown)
}

func TestStopBeforeTheFirstFrame(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.Handshake = time.Hour })
	p.accept(t)
	s.stop()
	receive(t, s.done, "the end of Run")
}

// TestDoneExactlyOnce has a platform that answers, twice, not at all, and cuts.
func TestDoneExactlyOnce(t *testing.T) {
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.AnswerTimeout = 100 * time.Millisecond })
	served := make(chan struct{})
	go func() {
		defer close(served)
		for i := 0; ; i++ {
			var c *peer
			select {
			case c = <-p.peers:
			case <-s.done:
				return
			}
			// The session may have ended by now: then nobody hears.
			say := func(frame string) { _ = c.conn.WriteMessage(websocket.TextMessage, []byte(frame)) }
			say(readyFrame(readyData))
			for n := range 200 {
				e, open := <-c.frames
				if !open {
					break
				}
				if e.Type == typeSend && n%7 != 3 {
					say(resultFrame(acceptance(e.ID)))
				}
			}
			_ = c.conn.NetConn().Close()
		}
	}()
	var calls, twice atomic.Int64
	var wg sync.WaitGroup
	const senders, each = 4, 300
	for sender := range senders {
		wg.Go(func() {
			for i := range each {
				var once atomic.Bool
				done := make(chan struct{})
				s.Send(&bridge.Outgoing{
					Ref: fmt.Sprintf("%d-%d", sender, i), Body: []byte(`{}`),
					Done: func(bridge.Result) {
						calls.Add(1)
						if once.Swap(true) {
							twice.Add(1)
							return
						}
						close(done)
					},
				})
				<-done
			}
		})
	}
	wg.Wait()
	s.stop()
	receive(t, s.done, "the end of Run")
	<-served
	if calls.Load() != senders*each || twice.Load() != 0 {
		t.Errorf("%d calls of Done for %d sends, %d twice", calls.Load(), senders*each, twice.Load())
	}
}

func TestSpanOfASend(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorder), trace.WithSampler(trace.ParentBased(trace.NeverSample())))
	p := newPlatform(t)
	s := start(t, p, func(c *Config) { c.TracerProvider = provider })
	c := p.ready(t)
	s.connected(t)
	for parent, want := range map[string]int{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": 1,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00": 0,
		"": 0,
	} {
		before := len(recorder.Ended())
		results := make(chan bridge.Result, 1)
		s.Send(&bridge.Outgoing{Ref: "order", Body: []byte(`{}`), TraceParent: parent, Done: func(r bridge.Result) { results <- r }})
		e := c.read(typeSend)
		c.result(`{"ref":"order","error":{"code":131047,"message":"for +15550142233"}}`)
		receive(t, results, "a result")
		spans := recorder.Ended()[before:]
		if len(spans) != want {
			t.Fatalf("%d spans for %q", len(spans), parent)
		}
		if want == 0 {
			if e.TraceParent != parent {
				t.Errorf("traceparent %q became %q", parent, e.TraceParent)
			}
			continue
		}
		span := spans[0]
		if span.Parent().SpanID().String() != "b7ad6b7169203331" || span.Name() != "send whatsapp" || span.SpanKind().String() != "client" {
			t.Errorf("span %s %v of %v", span.Name(), span.SpanKind(), span.Parent())
		}
		if !strings.Contains(e.TraceParent, span.SpanContext().SpanID().String()) {
			t.Errorf("traceparent %q is not of the span", e.TraceParent)
		}
		if printed := fmt.Sprint(span.Attributes(), span.Status()); strings.Contains(printed, "5550142233") {
			t.Errorf("span %s", printed)
		}
	}
}
