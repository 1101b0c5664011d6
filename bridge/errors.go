package bridge

import "errors"

// Errors of storing; compare with errors.Is.
var (
	// ErrTooLarge: the record exceeds what the NATS server takes.
	ErrTooLarge = errors.New("larger than the NATS server's max_payload")
	// ErrClosed: the part that was asked has been closed.
	ErrClosed = errors.New("closed")
)
