package simulator

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// dispatcher posts webhooks. Each Cloud API session has its own queue and
// workers, so that posts go out concurrently, as Meta's do.
type dispatcher struct {
	sim    *Simulator
	client *http.Client
	// spawn runs a worker until the simulator closes.
	spawn func(fn func(ctx context.Context))
}

// hookQueue is what a session has still to post. Simulator.mu guards it.
type hookQueue struct {
	workers  int
	wake     chan struct{}
	updates  []update
	retries  []*post
	done     map[uint64]bool // posted, above the session's acked
	subbed   bool            // the app is subscribed
	register bool            // the number is registered
}

// update is one message, status or field, on its way.
type update struct {
	occurrence
	sequence uint64
	late     bool // it was put off once
}

// post is one request: the same bytes at every attempt.
type post struct {
	body      []byte
	sequences []uint64
	first     time.Time
	wait      time.Duration
}

func newDispatcher(s *Simulator) *dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	d := &dispatcher{sim: s, client: &http.Client{
		Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	d.spawn = func(fn func(context.Context)) { s.wg.Go(func() { fn(ctx) }) }
	s.wg.Go(func() {
		<-s.stop
		cancel()
		d.client.CloseIdleConnections()
	})
	return d
}

// ensure starts the workers that a session should have. Call it with mu held.
func (d *dispatcher) ensure(sess *session) {
	hook := sess.cfg.Webhook
	if hook == nil {
		return
	}
	q := &sess.hooks
	if q.wake == nil {
		q.wake, q.done, q.subbed, q.register = make(chan struct{}, 64), map[uint64]bool{}, !hook.Unsubscribed, !hook.Unregistered
	}
	for ; q.workers < hook.Concurrency; q.workers++ {
		d.spawn(func(ctx context.Context) { d.work(ctx, sess) })
	}
}

// add queues an update. Call it with mu held.
func (d *dispatcher) add(sess *session, o occurrence) {
	if !sess.hooks.subbed {
		return
	}
	sess.log.last++
	d.sim.state.event(sess, sess.log.last, appendFields(nil, []byte(o.kind), []byte(o.name), []byte(o.peer), o.inner, o.contact))
	d.requeue(sess, o, sess.log.last)
}

func (d *dispatcher) requeue(sess *session, o occurrence, sequence uint64) {
	sess.hooks.updates = append(sess.hooks.updates, update{occurrence: o, sequence: sequence})
	sess.posting++
	sess.hooks.poke()
}

func (q *hookQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// restore queues what an earlier simulator had not posted. Call it with mu held.
func (d *dispatcher) restore(sess *session) {
	if sess.cfg.Webhook == nil {
		return
	}
	d.ensure(sess)
	events := sess.log.events
	sess.log.events = nil
	for _, e := range events {
		if f, whole := splitRecord(e.frame); whole && len(f) == 5 {
			o := occurrence{kind: string(f[0]), name: string(f[1]), peer: string(f[2]), inner: f[3]}
			if len(f[4]) > 0 {
				o.contact = f[4]
			}
			d.requeue(sess, o, e.sequence)
		}
	}
}

func (d *dispatcher) work(ctx context.Context, sess *session) {
	for {
		p, twice := d.take(sess)
		if p == nil {
			select {
			case <-ctx.Done():
				return
			case <-sess.hooks.wake:
			}
			continue
		}
		d.sim.flush()
		if twice {
			d.spawn(func(ctx context.Context) { _ = d.post(ctx, sess, p.body) }) // the other one decides
		}
		err := d.post(ctx, sess, p.body)
		if ctx.Err() != nil {
			return
		}
		d.finish(sess, p, err)
	}
}

// take makes the next post, a due retry first.
func (d *dispatcher) take(sess *session) (p *post, twice bool) {
	s := d.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	q, hook := &sess.hooks, sess.cfg.Webhook
	if hook == nil {
		return nil, false
	}
	if len(q.retries) > 0 {
		p, q.retries = q.retries[0], q.retries[1:]
		return p, false
	}
	var list []update
	for n := len(q.updates); n > 0 && len(list) < hook.Batch; n-- {
		u := q.updates[0]
		q.updates = q.updates[1:]
		if !u.late && (chance(hook.Shuffle) || s.faultHit(FaultReorder, sess.cfg.ID, u.peer) != nil) {
			u.late = true
			q.updates = append(q.updates, u)
			q.poke()
			continue
		}
		list = append(list, u)
	}
	if len(list) == 0 {
		return nil, false
	}
	if len(q.updates) > 0 {
		q.poke()
	}
	p = &post{body: sess.webhookBody(list), first: time.Now(), wait: time.Duration(hook.Retry)}
	for _, u := range list {
		p.sequences = append(p.sequences, u.sequence)
	}
	twice = chance(hook.Twice) || s.faultHit(FaultDuplicate, sess.cfg.ID, "") != nil
	return p, twice
}

// finish forgets a post that was taken, and puts another off.
func (d *dispatcher) finish(sess *session, p *post, failed error) {
	s := d.sim
	s.mu.Lock()
	defer s.mu.Unlock()
	hook := sess.cfg.Webhook
	if failed != nil {
		s.stats.WebhookFailures++
		if hook != nil && time.Since(p.first) < time.Duration(hook.GiveUp) {
			wait := p.wait
			p.wait = min(2*p.wait, time.Duration(hook.RetryMax))
			s.clock.after(wait, func() {
				sess.hooks.retries = append(sess.hooks.retries, p)
				sess.hooks.poke()
			})
			return
		}
		s.tell(Notice{Kind: "dropped", Session: sess.cfg.ID, Text: "a webhook was given up"})
	}
	sess.posting -= len(p.sequences)
	for _, n := range p.sequences {
		sess.hooks.done[n] = true
	}
	acked := sess.log.acked
	for ; sess.hooks.done[acked+1]; acked++ {
		delete(sess.hooks.done, acked+1)
	}
	if acked != sess.log.acked {
		sess.log.acked = acked
		s.state.ack(sess, acked)
	}
	sess.drained()
}

// postRaw queues a body as it is.
func (d *dispatcher) postRaw(sess *session, body []byte) {
	p := &post{body: body, first: time.Now(), wait: time.Duration(sess.cfg.Webhook.Retry)}
	sess.hooks.retries = append(sess.hooks.retries, p)
	sess.hooks.poke()
}

var errWebhook = errors.New("the webhook was not answered with 200")

func (d *dispatcher) post(ctx context.Context, sess *session, body []byte) error {
	d.sim.mu.Lock()
	hook := sess.cfg.Webhook
	forged := d.sim.faultHit(FaultForge, sess.cfg.ID, "") != nil
	d.sim.stats.WebhookPosts++
	d.sim.mu.Unlock()
	if hook == nil {
		return errWebhook
	}
	secret := hook.AppSecret
	if forged {
		secret += "x"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("posting webhook: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "facebookexternalua")
	req.Header.Set("X-Hub-Signature-256", "sha256="+sign(secret, body))
	resp, err := d.client.Do(req)
	if err != nil {
		return fmt.Errorf("posting webhook: %w", err)
	}
	_, copied := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if err := errors.Join(copied, resp.Body.Close()); err != nil {
		return fmt.Errorf("posting webhook: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errWebhook
	}
	return nil
}

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body) // a hash does not fail
	return hex.EncodeToString(mac.Sum(nil))
}

// VerifyWebhook makes the handshake that Meta makes when a callback URL is set.
func (s *Simulator) VerifyWebhook(ctx context.Context, id string) error {
	s.mu.Lock()
	sess := s.sessions[id]
	if sess == nil || sess.cfg.Webhook == nil {
		s.mu.Unlock()
		return fmt.Errorf("verifying webhook: no Cloud API session %q", id)
	}
	hook := *sess.cfg.Webhook
	s.mu.Unlock()
	challenge := strconv.FormatUint(rand.Uint64(), 10)
	u, err := url.Parse(hook.URL)
	if err != nil {
		return fmt.Errorf("verifying webhook: %w", err)
	}
	q := u.Query()
	q.Set("hub.mode", "subscribe")
	q.Set("hub.challenge", challenge)
	q.Set("hub.verify_token", hook.VerifyToken)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("verifying webhook: %w", err)
	}
	resp, err := s.hooks.client.Do(req)
	if err != nil {
		return fmt.Errorf("verifying webhook: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("verifying webhook: %w", err)
	}
	if resp.StatusCode != http.StatusOK || string(answer) != challenge {
		return fmt.Errorf("verifying webhook: status %d, and the answer is not the challenge", resp.StatusCode)
	}
	return nil
}
