//go:build !linux

package chatapi

// poller is there on Linux only. Elsewhere each link has a goroutine that waits.
type poller struct{}

// watch is a link's part in a poller.
type watch struct{}

// newPoller returns nil: there is none.
func newPoller() *poller { return nil }

// await is for a poller that there is.
func (*poller) await(*link) (bool, error) { return false, nil }

// forget reports that the link is reading.
func (*poller) forget(*link) (waited bool) { return false }

// readNow waits, as nobody asks it not to.
func (l *line) readNow(p []byte) (int, error) { return l.TCPConn.Read(p) }

// writeNow leaves all to a write that waits.
func (*line) writeNow([]byte) (int, error) { return 0, nil }
