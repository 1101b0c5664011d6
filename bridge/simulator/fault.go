package simulator

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// FaultKind says what goes wrong.
type FaultKind string

// Faults of a send: its answer is lost, comes Delay late, or is an error with
// Code (and RetryAfter); or it is accepted and the connection cut.
const (
	FaultDropAnswer   FaultKind = "drop_answer"
	FaultDelayAnswer  FaultKind = "delay_answer"
	FaultRefuse       FaultKind = "refuse"
	FaultAcceptAndCut FaultKind = "accept_and_cut"
)

// Faults of events: sent twice; swapped with the next; withheld on this
// connection (it comes after a reconnect); a sequence number left out for good.
const (
	FaultDuplicate    FaultKind = "duplicate"
	FaultReorder      FaultKind = "reorder"
	FaultGap          FaultKind = "gap"
	FaultLostSequence FaultKind = "lost_sequence"
)

// Faults of a live connection, which strike at once, or as soon as there is
// one: closed with Code and Reason; cut; not read for Delay; not written to;
// neither, and pings unanswered; a malformed frame (Variant, Size); the token
// ends now (its client's refresh tokens live on), or everything of the client's
// is revoked.
const (
	FaultClose       FaultKind = "close"
	FaultCut         FaultKind = "cut"
	FaultStallRead   FaultKind = "stall_read"
	FaultStallWrite  FaultKind = "stall_write"
	FaultHang        FaultKind = "hang"
	FaultMalformed   FaultKind = "malformed"
	FaultExpireToken FaultKind = "expire_token"
	FaultRevokeToken FaultKind = "revoke_token"
)

// Faults of HTTP: the handshake, the token endpoint, a Graph request, a media download. Answered
// with status Code (and RetryAfter), Delay late; Code 0 only delays.
const (
	FaultHandshake FaultKind = "handshake"
	FaultToken     FaultKind = "token"
	FaultGraph     FaultKind = "graph"
	FaultMedia     FaultKind = "media"
)

// Faults of webhooks: Meta's habits, on demand. Reorder and duplicate work on
// webhooks too. FaultEarly tells a status before the send is answered;
// FaultForge posts a wrong signature. FaultUsage adds usage headers to a Graph
// answer: Code percent, Delay until access is regained.
const (
	FaultEarly FaultKind = "webhook_early"
	FaultForge FaultKind = "webhook_forged"
	FaultUsage FaultKind = "usage"
)

func faultKinds() []FaultKind {
	return []FaultKind{
		FaultDropAnswer, FaultDelayAnswer, FaultRefuse, FaultAcceptAndCut, FaultDuplicate, FaultReorder, FaultGap, FaultLostSequence,
		FaultClose, FaultCut, FaultStallRead, FaultStallWrite, FaultHang, FaultMalformed, FaultExpireToken, FaultRevokeToken,
		FaultHandshake, FaultToken, FaultGraph, FaultMedia, FaultEarly, FaultForge, FaultUsage,
	}
}

// Fault is something that goes wrong on demand.
type Fault struct {
	ID   string    `json:"id"`
	Kind FaultKind `json:"kind"`
	// Session and Number narrow it down; empty is every one.
	Session string `json:"session,omitempty"`
	Number  string `json:"number,omitempty"`
	// Count is how often it strikes: 0 is once, -1 until it is removed.
	Count int `json:"count,omitempty"`
	// Skip passes over so many occasions first.
	Skip int `json:"skip,omitempty"`
	// Probability of striking at an occasion; 0 is 1.
	Probability float64 `json:"probability,omitempty"`

	Code       int      `json:"code,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	RetryAfter Duration `json:"retry_after,omitempty"`
	Delay      Duration `json:"delay,omitempty"`
	// Variant of a malformed frame: see Variants. Size in bytes.
	Variant string `json:"variant,omitempty"`
	Size    int    `json:"size,omitempty"`

	// Hits counts how often it struck.
	Hits int `json:"hits"`
}

// liveKinds are the faults that strike a live connection at once.
func liveKinds() []FaultKind {
	return []FaultKind{FaultClose, FaultCut, FaultStallRead, FaultStallWrite, FaultHang, FaultMalformed, FaultExpireToken, FaultRevokeToken}
}

func (f *Fault) validate() error {
	switch {
	case !slices.Contains(faultKinds(), f.Kind):
		return fmt.Errorf("adding fault: unknown kind %q", f.Kind)
	case f.Kind == FaultMalformed && !slices.Contains(Variants(), f.Variant):
		return fmt.Errorf("adding fault: unknown variant %q", f.Variant)
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("adding fault: probability is not between 0 and 1")
	case f.Size < 0 || f.Size > 256<<20:
		return fmt.Errorf("adding fault: size is not between 0 and 256 MiB")
	}
	return nil
}

// AddFault arms a fault and returns its id. A fault of a live connection
// strikes before AddFault returns, where its session is connected.
func (s *Simulator) AddFault(f Fault) (string, error) {
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Kind == FaultClose && f.Code == 0 {
		f.Code = 1001
	}
	if f.Number != "" {
		f.Number = number(f.Number)
	}
	if err := f.validate(); err != nil {
		return "", err
	}
	s.mu.Lock()
	s.faultSeq++
	f.ID, f.Hits = "fault-"+strconv.Itoa(s.faultSeq), 0
	s.faults = append(s.faults, &f)
	s.log.Info("fault armed", "fault", f.ID, "kind", f.Kind, "session", f.Session)
	var undo []func()
	if slices.Contains(liveKinds(), f.Kind) {
		for _, sess := range s.sessions {
			undo = append(undo, s.liveFaults(sess)...)
		}
	}
	s.mu.Unlock()
	for _, fn := range undo {
		fn()
	}
	return f.ID, nil
}

// RemoveFault disarms a fault, or every one where id is "". It tells how many.
func (s *Simulator) RemoveFault(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.faults)
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool { return id == "" || f.ID == id })
	return before - len(s.faults)
}

// Faults lists what is armed.
func (s *Simulator) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Fault, 0, len(s.faults))
	for _, f := range s.faults {
		list = append(list, *f)
	}
	return list
}

// faultHit tells whether a fault of this kind strikes now, and uses it up.
// Call it with mu held.
func (s *Simulator) faultHit(kind FaultKind, session, number string) *Fault {
	for i, f := range s.faults {
		if f.Kind != kind || (f.Session != "" && f.Session != session) || (f.Number != "" && f.Number != number) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Probability > 0 && !chance(f.Probability) {
			continue
		}
		f.Hits++
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		s.stats.Faults++
		s.tell(Notice{Kind: "fault", Session: session, Text: string(kind)})
		return f
	}
	return nil
}

// chance is true with probability p.
func chance(p float64) bool { return rand.Float64() < p }

// faultArmed tells whether a fault of this kind waits.
func (s *Simulator) faultArmed(kind FaultKind) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.faults, func(f *Fault) bool { return f.Kind == kind })
}

// liveFaults lets the faults of live connections strike. What it returns is to
// be called without the lock. Call it with mu held.
func (s *Simulator) liveFaults(sess *session) (after []func()) {
	c := sess.conn
	if c == nil || c.closing {
		return nil
	}
	client := c.token.client
	strike := map[FaultKind]func(f *Fault, until int64){
		FaultClose: func(f *Fault, _ int64) {
			reason := f.Reason
			if reason == "" && f.RetryAfter > 0 {
				reason = strconv.Itoa(int(time.Duration(f.RetryAfter).Seconds()))
			}
			c.shut(f.Code, reason)
		},
		FaultCut:        func(*Fault, int64) { c.drop() },
		FaultStallRead:  func(_ *Fault, until int64) { c.quiet.Store(until) },
		FaultStallWrite: func(_ *Fault, until int64) { c.mute.Store(until) },
		FaultHang:       func(_ *Fault, until int64) { c.quiet.Store(until); c.mute.Store(until) },
		FaultMalformed: func(f *Fault, _ int64) {
			c.noise = append(c.noise, *f)
			c.poke()
		},
		FaultExpireToken: func(*Fault, int64) { after = append(after, func() { s.tokens.expire(client, 0) }) },
		FaultRevokeToken: func(*Fault, int64) { after = append(after, func() { s.tokens.revoke(client, true) }) },
	}
	for _, kind := range liveKinds() {
		if f := s.faultHit(kind, sess.cfg.ID, ""); f != nil {
			strike[kind](f, time.Now().Add(time.Duration(f.Delay)).UnixNano())
		}
	}
	return after
}

// httpFault lets a fault of an HTTP endpoint strike; true where it answered.
func (s *Simulator) httpFault(w http.ResponseWriter, r *http.Request, kind FaultKind, session string) bool {
	s.mu.Lock()
	f := s.faultHit(kind, session, "")
	s.mu.Unlock()
	if f == nil {
		return false
	}
	if f.Delay > 0 {
		timer := time.NewTimer(time.Duration(f.Delay))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return true
		case <-s.stop:
			return true
		}
	}
	if f.Code == 0 {
		return false
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(time.Duration(f.RetryAfter).Seconds())))
	}
	reason := f.Reason
	if reason == "" {
		reason = "on demand"
	}
	if kind == FaultToken && (f.Code == http.StatusBadRequest || f.Code == http.StatusUnauthorized) {
		writeJSON(w, f.Code, oauthFault(reason, "on demand"))
		return true
	}
	http.Error(w, reason, f.Code)
	return true
}
