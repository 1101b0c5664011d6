package bridge

import (
	"fmt"
	"strconv"
	"strings"
)

// DefaultPrefix is the first token of every subject where nothing else is
// configured.
const DefaultPrefix = "wa"

// DefaultShards is the number of shards that WA_SEND is created with. It is
// fixed at creation: the stream's subject transform holds it.
const DefaultShards = 32

// Unrouted is the last token of the dead-letter subject for what belongs to no
// session.
const Unrouted = "_unrouted"

// ValidID reports whether id can name a session: a NATS subject token of 1 to
// 64 characters out of A-Z, a-z, 0-9, "_" and "-".
func ValidID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Names derives every subject, stream and bucket name from the prefix.
type Names struct{ prefix string }

// NewNames returns the names under prefix, or an error where prefix is not one
// subject token of letters, digits, "_" and "-".
func NewNames(prefix string) (Names, error) {
	if !ValidID(prefix) {
		return Names{}, fmt.Errorf("subject prefix %q: want 1 to 64 letters, digits, _ or -", prefix)
	}
	return Names{prefix: prefix}, nil
}

// Prefix is the first token of every subject.
func (n Names) Prefix() string { return n.prefix }

// Send is the subject that commands of a session are published on.
func (n Names) Send(session string) string { return n.prefix + ".send." + session }

// Recv is the subject of messages that users wrote to a session.
func (n Names) Recv(session string) string { return n.prefix + ".recv." + session }

// Status is the subject of what became of a session's commands.
func (n Names) Status(session string) string { return n.prefix + ".status." + session }

// Event is the subject of everything else that a session says.
func (n Names) Event(session string) string { return n.prefix + ".event." + session }

// Dead is the subject of a session's dead letters.
func (n Names) Dead(session string) string { return n.prefix + ".dead." + session }

// Control is a subject of the micro service: what is "status", "pause.shop" and
// so on.
func (n Names) Control(what string) string { return n.prefix + ".ctl." + what }

// Outbox is the subject under which WA_SEND stores commands: session may be "*".
func (n Names) Outbox(shard int, session string) string {
	return n.prefix + ".outbox." + strconv.Itoa(shard) + "." + session
}

// SendStream names the stream of commands.
func (n Names) SendStream() string { return strings.ToUpper(n.prefix) + "_SEND" }

// RecvStream names the stream of messages, statuses and events.
func (n Names) RecvStream() string { return strings.ToUpper(n.prefix) + "_RECV" }

// DeadStream names the stream of dead letters.
func (n Names) DeadStream() string { return strings.ToUpper(n.prefix) + "_DEAD" }

// Bucket names a KV bucket or Object Store: kind is "state", "media", and so on.
func (n Names) Bucket(kind string) string { return strings.ToLower(n.prefix) + "_" + kind }

// Shard is the shard that a session belongs to out of n: NATS's partition(n,1)
// of its id, which is FNV-1a (32 bits) modulo n.
func Shard(session string, n int) int {
	h := uint32(2166136261)
	for i := range len(session) {
		h ^= uint32(session[i])
		h *= 16777619
	}
	return int(h % uint32(n))
}
