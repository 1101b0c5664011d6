package bridge

import "context"

// Record is one message to be stored on WA_RECV or WA_DEAD. Header holds
// Nats-Msg-Id where the record has an id. Nothing of it may change from Put to
// Done, and a store uses nothing of it after Done: the header may be another
// record's then.
type Record struct {
	Subject string
	Header  map[string][]string
	Body    []byte
	// Done is called exactly once, in the order of Put within one Store, after
	// JetStream's answer. It must not block. It may be nil.
	Done func(Stored)
}

// Stored is JetStream's answer to a record.
type Stored struct {
	// Sequence in the stream; for a duplicate, that of the original.
	Sequence  uint64
	Duplicate bool
	// Err is ErrTooLarge where the record can never be stored, or ErrClosed
	// where the store was closed before an answer came: then it may have been
	// stored or not. Every other trouble is waited out.
	Err error
}

// Store keeps the order of one session's records: what is Put first is stored
// first, whatever fails in between.
type Store interface {
	// Put takes a record into the order. It blocks while too much is in flight,
	// until ctx ends or the store is closed; then the record was not taken,
	// Done is not called, and the error says why.
	Put(ctx context.Context, r *Record) error
}
