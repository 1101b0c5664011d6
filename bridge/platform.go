package bridge

import (
	"context"
	"time"

	"wabridge/codec"
)

// Outgoing is one command on its way to a platform. The platform may keep Body
// until Done was called and does not change it.
type Outgoing struct {
	// Ref is the idempotency key of the send.
	Ref          string
	Type         string // as codec.Command.Type
	Conversation string
	// Body is the complete Cloud API send body, biz_opaque_callback_data included.
	Body        []byte
	TraceParent string
	TraceState  string
	// Media is set where the body names an object of wa_media or a link that the
	// platform may replace by an id of its own.
	Media *codec.MediaRef
	// Done is called exactly once, from any goroutine, possibly before Send
	// returns. It must not block.
	Done func(Result)
}

// Result is what a platform made of one send.
type Result struct {
	Class codec.Class
	Scope codec.Scope
	// ID is the platform's message id, where the class is accepted.
	ID string
	// Duplicate: the platform had this ref already and did not deliver again.
	Duplicate bool
	// Wait is how long the platform asked to wait; 0 where it did not say.
	Wait time.Duration
	// Tries bounds how often a transient failure is tried; 0 is without bound.
	Tries int
	// Error is the platform's own error object, where it gave one.
	Error *codec.Error
	// Reason is for people, where Error is nil. It holds no secret.
	Reason string
}

// Session is one WhatsApp identity on one platform, running.
type Session interface {
	// Start has it connect and stay connected, through every failure, until stop
	// is called; then it ends what is in flight within its own bound, and calls
	// ended, once. Start is called once and, like stop, does not block; stop may
	// be called again.
	Start(ended func()) (stop func())
	// Send gives one command to the platform. It does not block.
	//
	// The class of its result decides what follows: transient says that the
	// command never left; unknown, that it was written and not answered.
	Send(out *Outgoing)
	// Window is how many sends may be unanswered at once: 0 while the session
	// cannot send.
	Window() int
	// Idempotent says that sending a ref twice delivers it once.
	Idempotent() bool
	// Resume ends a wait for authorization or permission. It does not block.
	Resume()
}

// Host is what a platform's session runs in. All methods are safe for
// concurrent use.
type Host interface {
	// Changed reports a change of state. It does not block.
	Changed(c Change)
	// Wake says that Window may have grown. It does not block.
	Wake()
	// Receive takes one thing that the platform said, in the platform's order.
	// It blocks while storing is behind; an error (ctx ended, ErrClosed) means
	// it was not taken.
	Receive(ctx context.Context, in *Inbound) error
	// Position is the sequence up to which every event of epoch is stored; 0 where
	// none is. It blocks while events are on their way into the store.
	Position(ctx context.Context, epoch string) (uint64, error)
}

// Kind says what an Inbound is.
type Kind uint8

// The kinds of what a platform says.
const (
	KindMessage Kind = iota + 1 // Data: {"message","contact","metadata"}
	KindStatus                  // Data: a Cloud API status object
	KindEvent                   // Data: {"field","value"}
	KindPoison                  // Data: what could not be read, as it came, or its beginning
)

// Inbound is one thing that a platform said. Data belongs to the receiver.
type Inbound struct {
	Kind Kind
	Data []byte
	// ID and Time are the CloudEvent's own, where it came as one.
	ID   string
	Time time.Time
	// Epoch and Sequence number what a Chat API session says; Sequence is 0
	// where the platform numbers nothing.
	Epoch       string
	Sequence    uint64
	TraceParent string
	TraceState  string
	// Reason says why Data could not be read; Size and SHA256 (hex) describe the
	// whole where Data holds its beginning only.
	Reason string
	Size   int64
	SHA256 string
	// Acker hears when it is stored. It may be nil.
	Acker Acker
}

// Acker hears what became of what a platform said.
type Acker interface {
	// Stored is called once for each Inbound taken, in order within a session:
	// with nil once JetStream has it, with an error where the store was closed
	// before that. It must not block.
	Stored(in *Inbound, err error)
}
