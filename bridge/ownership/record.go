package ownership

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The keys of the bucket: one for each replica, one for each shard.
const (
	replicaPrefix = "replica."
	shardPrefix   = "shard."
)

// beatRecord is what a replica says of itself.
type beatRecord struct {
	// Incarnation tells one process from the next with the same id.
	Incarnation string `json:"incarnation"`
	Beat        uint64 `json:"beat"`
	// Leaving is set while the replica hands its shards over to stop.
	Leaving bool `json:"leaving,omitempty"`
}

// ownerRecord says who owns a shard; an empty owner, that it is free, and then
// Note is what the owner before tells the next one.
type ownerRecord struct {
	Owner       string          `json:"owner"`
	Incarnation string          `json:"incarnation,omitempty"`
	Note        json.RawMessage `json:"note,omitempty"`
}

func replicaKey(id string) string { return replicaPrefix + id }

// cutReplica reads the replica's id out of its key.
func cutReplica(key string) (string, bool) { return strings.CutPrefix(key, replicaPrefix) }

func shardKey(shard int) string { return shardPrefix + strconv.Itoa(shard) }

// shardOf reads the shard's number out of its key.
func shardOf(key string) (int, bool) {
	text, ok := strings.CutPrefix(key, shardPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // both records are plain structs
		panic(fmt.Sprintf("encoding an ownership record: %v", err))
	}
	return b
}
