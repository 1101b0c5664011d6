package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"wabridge/bridge"
	"wabridge/bridge/broker"
	"wabridge/bridge/inbound"
	"wabridge/bridge/outbound"
	"wabridge/codec"
)

// session is one session of a shard that this replica owns: its platform, and
// what stands between that and JetStream. It is the platform's Host.
type session struct {
	def       *bridge.Definition
	announcer *announcer
	log       *slog.Logger
	store     *broker.Store
	in        *inbound.Session
	out       *outbound.Session
	platform  bridge.Session

	heard atomic.Int64 // when the platform last said something, in Unix nanoseconds

	shard   *shard
	closing atomic.Bool
	stop    func() // ends the platform
	done    chan struct{}
}

// Changed implements bridge.Host.
func (s *session) Changed(c bridge.Change) {
	s.heard.Store(time.Now().UnixNano())
	if !s.shard.lost.Load() {
		s.announcer.changed(s.def.ID, c)
	}
}

// Wake implements bridge.Host.
func (s *session) Wake() { s.out.Wake() }

// Receive implements bridge.Host.
func (s *session) Receive(ctx context.Context, in *bridge.Inbound) error {
	s.heard.Store(time.Now().UnixNano())
	return s.in.Receive(ctx, in)
}

// Position implements bridge.Host.
func (s *session) Position(ctx context.Context, epoch string) (uint64, error) {
	return s.in.Position(ctx, epoch)
}

// start runs the platform until close.
func (s *session) start() {
	s.done = make(chan struct{})
	s.stop = s.platform.Start(func() { close(s.done) })
}

// close ends the session in order: no more sends, the answers that are due taken
// and the platform closed, the outcomes and everything else stored. What ctx
// leaves no time for is left to whoever takes over.
func (s *session) close(ctx context.Context) {
	s.closing.Store(true)
	// The platform sends no more and waits for the answers that are due, and it
	// does not come back where its connection is lost meanwhile.
	s.stop()
	s.log.Debug("session ends: it sends no more", "session", s.def.ID)
	var errs []error
	errs = append(errs, s.out.Close(ctx))
	select {
	case <-s.done:
	case <-ctx.Done():
		errs = append(errs, ctx.Err())
	}
	errs = append(errs, s.store.Close(ctx))
	if err := errors.Join(errs...); err != nil && ctx.Err() == nil {
		s.log.Warn("closing a session", "session", s.def.ID, "error", err)
	}
	<-s.done // the platform bounds that itself
	s.announcer.gone(s.def.ID)
}

// zombieAfter is how long a session that is connected may neither hear nor
// get an answer while commands wait.
const zombieAfter = time.Minute

// zombie reports whether the session only seems to be connected.
func (s *session) zombie(now time.Time) bool {
	return s.announcer.state(s.def.ID) == bridge.Connected &&
		now.Sub(time.Unix(0, s.heard.Load())) > zombieAfter && s.out.Stalled(now, zombieAfter)
}

// still is a session that does not run: it is paused, or its definition is
// faulty. Its commands wait in the stream.
type still struct {
	host   bridge.Host
	change bridge.Change
}

// Start implements bridge.Session.
func (s *still) Start(ended func()) (stop func()) {
	s.host.Changed(s.change)
	return sync.OnceFunc(func() {
		s.host.Changed(bridge.Change{State: bridge.Stopped})
		ended()
	})
}

// Send implements bridge.Session.
func (s *still) Send(out *bridge.Outgoing) {
	out.Done(bridge.Result{Class: codec.Transient, Reason: "the session is not running"})
}

// Window implements bridge.Session.
func (s *still) Window() int { return 0 }

// Idempotent implements bridge.Session.
func (s *still) Idempotent() bool { return true }

// Resume implements bridge.Session.
func (s *still) Resume() {}
