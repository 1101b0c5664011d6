package outbound

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

// Outcomes reads outcomes that are stored already.
type Outcomes interface {
	// Outcome reads the report at a sequence of WA_RECV. It blocks until
	// JetStream answers or ctx ends; bridge.ErrNotFound says that it is gone,
	// any other error is tried again.
	Outcome(ctx context.Context, sequence uint64) (codec.Report, error)
}

// Reader reads a session's commands by sequence.
type Reader interface {
	// ReadSend reads at most limit commands of a session from WA_SEND, in
	// order, from a sequence on. None at all means that the stream held no more
	// when it was asked, and must be true: what was delivered before and is not
	// read counts as erased. It blocks until JetStream answers or ctx ends; an
	// error is tried again.
	ReadSend(ctx context.Context, session string, from uint64, limit int) ([]*bridge.Delivery, error)
}

// Limits are the rates that a session keeps to, in sends per second. A rate of
// 0 is without limit; a burst below 1 counts as 1.
type Limits struct {
	SessionRate       float64
	SessionBurst      int
	ConversationRate  float64
	ConversationBurst int
}

// Config is what a Session needs. Fields without a default are required.
type Config struct {
	// Env is shared by the sessions of the process.
	*Env
	// Session is the session's id.
	Session string
	// Store is the session's ordered store, the same that its statuses go
	// through: so an outcome comes before the statuses that follow it.
	Store bridge.Store
	// Ledger is the bucket wa_ledger. It is not used where the platform is
	// idempotent, and may be nil then.
	Ledger bridge.KV
	// Policy says what follows an unanswered send on a platform that is not
	// idempotent; empty means report.
	Policy bridge.Policy

	Limits Limits
	// App is shared by the sessions of one app; nil where nothing is shared.
	App *App

	// Patience says how long a Deliver may wait for room before the session
	// goes to its backlog; nil means not at all. It suits a shard that has no
	// other session.
	Patience func() time.Duration
	// Settled lists sequences that the owner before has settled. It is not kept.
	Settled []uint64
}

// prepare sets the defaults and reports every fault at once.
func (c *Config) prepare() error {
	var faults []error
	if c.Env == nil {
		faults = append(faults, errors.New("env is missing"))
	} else if err := c.Env.prepare(); err != nil {
		faults = append(faults, err)
	}
	if !bridge.ValidID(c.Session) {
		faults = append(faults, fmt.Errorf("session id %q: want 1 to 64 letters, digits, _ or -", c.Session))
	}
	if c.Store == nil {
		faults = append(faults, errors.New("store is missing"))
	}
	if c.Policy == "" {
		c.Policy = bridge.Report
	}
	if c.Policy != bridge.Report && c.Policy != bridge.Resend {
		faults = append(faults, fmt.Errorf("policy %q: want report or resend", c.Policy))
	}
	if c.Limits.SessionRate < 0 || c.Limits.ConversationRate < 0 {
		faults = append(faults, errors.New("a rate is negative"))
	}
	if c.App == nil {
		c.App = NewApp()
	}
	return errors.Join(faults...)
}
