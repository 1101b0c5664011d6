package simulator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	subprotocol = "cloudevents.json"
	pingEvery   = 15 * time.Second
	readWait    = 30 * time.Second
	writeWait   = 10 * time.Second
	closeWait   = 2 * time.Second
)

// conn is one WebSocket of a session: a reader (the HTTP handler's goroutine)
// and a writer. Fields below the line are guarded by Simulator.mu.
type conn struct {
	sim  *Simulator
	sess *session
	ws   *websocket.Conn // the handshake and the reading
	net  net.Conn        // the writing

	wake  chan struct{} // something to write
	stop  chan struct{} // closed by shut
	quiet atomic.Int64  // until then (unix ns), nothing is read
	mute  atomic.Int64  // until then, nothing is written

	number     int // counts connections of the session
	token      *token
	expiry     *time.Timer // of the token; nil for one that never ends
	unanswered int
	answers    []answer // to be written before any event
	noise      []Fault  // malformed frames to be written
	cursor     uint64   // next event to write
	withheld   uint64   // an event that a fault kept back; 0 = none
	closing    bool
	closeCode  int
	closeText  string
	cut        bool // close without a close frame
}

// answer is a frame that is no event, and the message whose result it is.
type answer struct {
	frame  []byte
	result bool
	of     *Message // nil for a refusal or a verb
}

// hijacker hands gorilla's Upgrader the connection and keeps it for the
// writer, which frames by itself: many events in one system call.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack is http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = c
	return c, rw, err
}

// serveChat is the Chat API.
func (s *Simulator) serveChat(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("session")
	if s.httpFault(w, r, FaultHandshake, id) {
		return
	}
	tok, err := s.tokens.lookup(bearer(r))
	if err != nil {
		if errors.Is(err, errTokenRefresh) {
			s.violate(id, "token-type", err.Error())
		}
		s.count(func(c *Stats) { c.Unauthorized++ })
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	sess := s.sessions[id]
	if sess != nil && sess.cfg.Webhook != nil {
		sess = nil // it is on Graph
	}
	s.mu.Unlock()
	offers := websocket.Subprotocols(r)
	switch {
	case sess == nil:
		http.Error(w, "no such session", http.StatusNotFound)
	case !s.tokens.opens(tok.client, id):
		http.Error(w, "this client may not open this session", http.StatusForbidden)
	case len(tok.scopes) == 0:
		http.Error(w, "the token has no scope", http.StatusForbidden)
	case len(offers) != 1 || offers[0] != subprotocol:
		s.refuse(w, id, "subprotocol", "Sec-WebSocket-Protocol must be "+subprotocol)
	case r.Header.Get("traceparent") != "" && !validTraceParent(r.Header.Get("traceparent")):
		s.refuse(w, id, "traceparent", "traceparent of the handshake is malformed")
	default:
		s.upgrade(w, r, sess, tok)
	}
}

func (s *Simulator) refuse(w http.ResponseWriter, session, rule, detail string) {
	s.violate(session, rule, detail)
	http.Error(w, detail, http.StatusBadRequest)
}

func (s *Simulator) upgrade(w http.ResponseWriter, r *http.Request, sess *session, tok *token) {
	if r.Header.Get("Sec-WebSocket-Extensions") != "" {
		s.violate(r.PathValue("session"), "compression", "the handshake offers extensions; the Chat API has none")
	}
	up := websocket.Upgrader{
		HandshakeTimeout: writeWait, Subprotocols: []string{subprotocol}, ReadBufferSize: 64 << 10, WriteBufferSize: 512,
		EnableCompression: s.faultArmed(FaultMalformed),
	}
	h := &hijacker{ResponseWriter: w}
	ws, err := up.Upgrade(h, r, nil)
	if err != nil {
		return // the Upgrader has answered
	}
	c := &conn{sim: s, sess: sess, ws: ws, net: h.conn, wake: make(chan struct{}, 1), stop: make(chan struct{}), token: tok}
	if !s.attach(c) {
		_ = ws.Close() // closed before it began
		return
	}
	written := make(chan struct{})
	s.wg.Go(func() { defer close(written); c.write() })
	polite := c.read()
	<-written
	if !polite {
		// Closing on unread data resets the connection, and the close frame with it.
		_ = c.net.SetReadDeadline(time.Now().Add(closeWait)) // a dead connection ends by itself
		_, _ = io.Copy(io.Discard, c.net)                    // until then or its end
	}
	_ = c.net.Close() // either side may have closed it already
	s.detach(c)
}

// attach makes c the session's connection in place of an older one.
func (s *Simulator) attach(c *conn) bool {
	ok, after := s.attachLocked(c)
	for _, fn := range after {
		fn()
	}
	return ok
}

func (s *Simulator) attachLocked(c *conn) (ok bool, after []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := c.sess
	if s.closed || s.sessions[sess.cfg.ID] != sess {
		return false, nil
	}
	if old := sess.conn; old != nil {
		old.shut(4409, "replaced by a newer connection")
	}
	sess.conns++
	sess.conn, c.number, c.cursor = c, sess.conns, sess.log.acked+1
	s.stats.Connections++
	s.stats.Connected++
	c.ready()
	c.watchToken()
	s.tell(Notice{Kind: "connected", Session: sess.cfg.ID})
	s.log.Info("session connected", "session", sess.cfg.ID, "connection", c.number)
	return true, s.liveFaults(sess)
}

func (s *Simulator) detach(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Connected--
	if c.expiry != nil {
		c.expiry.Stop() // it holds the connection
	}
	if c.sess.conn == c {
		c.sess.conn = nil
	}
	s.tell(Notice{Kind: "disconnected", Session: c.sess.cfg.ID})
	s.log.Info("session disconnected", "session", c.sess.cfg.ID, "connection", c.number, "code", c.closeCode, "reason", c.closeText)
}

// shut closes the connection with a code. Call it with mu held.
func (c *conn) shut(code int, reason string) {
	if c.closing {
		return
	}
	c.closing, c.closeCode, c.closeText = true, code, reason
	close(c.stop)
	c.poke()
}

// drop cuts the connection without a word. Call it with mu held.
func (c *conn) drop() {
	if c.closing {
		return
	}
	c.cut = true
	c.shut(1006, "cut")
}

// poke wakes the writer.
func (c *conn) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// ready queues whatsapp.session.ready. Call it with mu held.
func (c *conn) ready() {
	cfg := &c.sess.cfg
	data := append([]byte(nil), `{"session":`...)
	data = appendText(data, cfg.ID)
	data = append(data, `,"epoch":`...)
	data = appendText(data, c.sess.epoch)
	data = append(data, `,"scopes":[`...)
	for i, scope := range c.token.scopes {
		if i > 0 {
			data = append(data, ',')
		}
		data = appendText(data, scope)
	}
	data = append(data, `],"window":`...)
	data = strconv.AppendInt(data, int64(cfg.Window), 10)
	data = append(data, `,"phone_number_id":`...)
	data = appendText(data, cfg.PhoneNumberID)
	data = append(data, `,"display_phone_number":`...)
	data = appendText(data, cfg.DisplayPhoneNumber)
	c.answer("whatsapp.session.ready", append(data, '}'), nil)
}

// answer queues a frame that is no event. Call it with mu held.
func (c *conn) answer(kind string, data []byte, of *Message) {
	c.sim.frames++
	frame := make([]byte, 0, 220+len(data))
	frame = append(frame, `{"specversion":"1.0","id":"r-`...)
	frame = strconv.AppendUint(frame, c.sim.frames, 10)
	frame = append(frame, `","source":"/whatsapp/`...)
	frame = append(frame, c.sess.cfg.ID...)
	frame = append(frame, `","type":"`...)
	frame = append(frame, kind...)
	frame = append(frame, `","datacontenttype":"application/json","data":`...)
	frame = append(frame, data...)
	c.answers = append(c.answers, answer{append(frame, '}'), kind == "whatsapp.result", of})
	c.poke()
}

// watchToken closes the connection when its token ends. Call it with mu held.
func (c *conn) watchToken() {
	tok := c.token
	end, alive := c.sim.tokens.alive(tok)
	switch left := time.Until(end); {
	case !alive:
		c.shut(4401, errTokenUnknown.Error())
	case end.IsZero():
	case left <= 0:
		c.shut(4401, errTokenExpired.Error())
	default:
		if c.expiry != nil {
			c.expiry.Stop()
		}
		c.expiry = time.AfterFunc(left, func() {
			c.sim.mu.Lock()
			defer c.sim.mu.Unlock()
			if c.token == tok && !c.closing {
				c.watchToken()
			}
		})
	}
}

// recheckTokens looks at every connection's token again.
func (s *Simulator) recheckTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sess := range s.sessions {
		if sess.conn != nil && !sess.conn.closing {
			sess.conn.watchToken()
		}
	}
}

// read takes the bridge's frames until the connection ends; it tells whether
// that was with a close frame.
func (c *conn) read() (polite bool) {
	c.ws.SetReadLimit(maxFrame)
	c.ws.SetPingHandler(func(data string) error {
		c.pause(&c.quiet)
		return errors.Join(c.control(opPong, []byte(data)), c.ws.SetReadDeadline(time.Now().Add(readWait)))
	})
	c.ws.SetPongHandler(func(string) error { return c.ws.SetReadDeadline(time.Now().Add(readWait)) })
	c.ws.SetCloseHandler(func(int, string) error { return nil }) // write echoes it
	var buf []byte
	for {
		err := c.ws.SetReadDeadline(time.Now().Add(readWait))
		var kind int
		var r io.Reader
		if err == nil {
			kind, r, err = c.ws.NextReader()
		}
		if err == nil {
			buf, err = readInto(buf[:0], r)
		}
		if err != nil {
			return c.ended(err)
		}
		c.pause(&c.quiet)
		if kind != websocket.TextMessage {
			c.violate(1003, "frame-type", "frames are text messages")
			continue
		}
		c.handle(buf)
	}
}

func readInto(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, max(4096, cap(buf)))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, fmt.Errorf("reading frame: %w", err)
		}
	}
}

// ended is told why reading ended, and ends the writer.
func (c *conn) ended(err error) (polite bool) {
	c.sim.mu.Lock()
	defer c.sim.mu.Unlock()
	var closed *websocket.CloseError
	polite = errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure
	switch {
	case c.closing:
	case polite:
		c.shut(closed.Code, "the bridge closed: "+closed.Text)
	case errors.Is(err, websocket.ErrReadLimit):
		c.sim.violateLocked(c.sess.cfg.ID, "frame-size", "a frame is larger than 960 KiB")
		c.shut(1009, "a frame may be 960 KiB")
	default:
		var network net.Error // a time-out, a reset
		if closed == nil && !errors.As(err, &network) && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			c.sim.violateLocked(c.sess.cfg.ID, "websocket", err.Error())
		}
		c.drop()
	}
	return polite
}
