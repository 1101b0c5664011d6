package bridge

import "time"

// Settler ends the delivery of a command. A jetstream.Msg is one. Errors mean
// that the server may not have heard; the command then comes again.
type Settler interface {
	// Ack says that the command is settled.
	Ack() error
	// TermWithReason says that it is settled and was refused.
	TermWithReason(reason string) error
	// InProgress keeps it from coming again for another AckWait (30 s).
	InProgress() error
}

// Delivery is one command as WA_SEND delivers it. Body and Header belong to the
// receiver.
type Delivery struct {
	Session  string
	Shard    int
	Sequence uint64    // in WA_SEND
	Stored   time.Time // when WA_SEND took it
	// Redelivered is set where WA_SEND has delivered it before, to anyone.
	Redelivered bool
	// Pending is how many commands the shard's consumer has not come to yet. Where
	// the command was read and not delivered it is how many more of its session are
	// to be read, or 0 where that is not known.
	Pending uint64
	Header  map[string][]string
	Body    []byte
	Settler Settler
}

// HeaderValue reads the first value of a header. NATS header names are
// case-sensitive, so names here are as published.
func (d *Delivery) HeaderValue(name string) string {
	if v := d.Header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
