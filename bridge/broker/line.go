package broker

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// line numbers the connections to NATS, one behind the other, and keeps one from
// beginning while something is published. So whoever publishes on a line knows
// that it goes out on that connection and no other: the client itself says that
// one was lost some time after the next one is there, and what a server still
// has to read from the first would come behind what was published on the second.
//
// It is the client's dialer.
type line struct {
	mu     sync.RWMutex // held for reading while something is published
	number uint64
	down   atomic.Bool // it could not be taken for a new connection
}

var errLineBusy = errors.New("something is being published")

// enter gives the number of the connection that stays in place until leave, or
// false where there is none.
func (l *line) enter() (number uint64, ok bool) {
	if l.down.Load() || !l.mu.TryRLock() {
		return 0, false
	}
	return l.number, true
}

func (l *line) leave() { l.mu.RUnlock() }

// Dial implements nats.CustomDialer. The client holds the lock that publishing
// needs meanwhile, so nobody can be waited for: it fails, nobody enters any more,
// and the client, which lets go of its lock in between, tries again.
func (l *line) Dial(network, address string) (net.Conn, error) {
	if !l.mu.TryLock() {
		l.down.Store(true)
		return nil, errLineBusy
	}
	l.number++
	l.down.Store(false)
	l.mu.Unlock()
	dialer := net.Dialer{Timeout: connectTimeout}
	return dialer.Dial(network, address)
}
