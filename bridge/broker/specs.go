package broker

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"wabridge/bridge"
)

const (
	day = 24 * time.Hour
	// Dedupe is how long the streams remember a Nats-Msg-Id.
	Dedupe = 2 * time.Hour
	// SendAge is how long WA_SEND keeps a command.
	SendAge = 7 * day
	// RecvAge is how long WA_RECV and WA_DEAD keep a record.
	RecvAge = 30 * day
	// MediaAge is how long a media object is kept.
	MediaAge = 7 * day

	// maxConsumers is set because a server of version 2.15 allows 1,000 where a
	// stream says nothing; KV watchers and readers are consumers and count.
	maxConsumers = 100_000
	// fewestConsumers is the least limit that an existing stream may have.
	fewestConsumers = 1000
)

// The kinds of KV buckets, for KV; MediaBucket is the Object Store's.
const (
	Sessions = "sessions"
	Owners   = "owners"
	Backlog  = "backlog"
	Ledger   = "ledger"
	Tokens   = "tokens"
	State    = "state"
	Uploads  = "uploads"

	MediaBucket = "media"
)

// buckets lists the KV buckets with how long each keeps a value.
func buckets() []struct {
	kind, about string
	age         time.Duration
} {
	return []struct {
		kind, about string
		age         time.Duration
	}{
		{Sessions, "session definitions", 0},
		{Owners, "replicas alive and the shards that they own", 0},
		{Backlog, "where sessions in backlog are read from", 0},
		{Ledger, "attempts and outcomes of sends without an idempotency key", 72 * time.Hour},
		{Tokens, "rotated refresh tokens, encrypted", 0},
		{State, "last known state of each session", 0},
		{Uploads, "platform ids of uploaded media", 30 * day},
	}
}

// Specs lists every stream that must exist, those of buckets included, with
// what an operator should create. The number of shards is that of the existing
// WA_SEND once Ensure has run.
func (b *Broker) Specs() []jetstream.StreamConfig {
	shards := b.Shards()
	if shards == 0 {
		shards = max(b.config.Shards, 0)
	}
	if shards == 0 {
		shards = bridge.DefaultShards
	}
	return Specs(b.names, shards, b.copies())
}

// Specs lists every stream of a deployment; replicas is the copies of each.
func Specs(names bridge.Names, shards, replicas int) []jetstream.StreamConfig {
	prefix := names.Prefix()
	send := logStream(names.SendStream(), "commands to WhatsApp", SendAge, replicas, names.Send("*"))
	send.SubjectTransform = &jetstream.SubjectTransformConfig{
		Source:      names.Send("*"),
		Destination: fmt.Sprintf("%s.outbox.{{partition(%d,1)}}.{{wildcard(1)}}", prefix, shards),
	}
	recv := logStream(names.RecvStream(), "messages, statuses and events from WhatsApp", RecvAge, replicas,
		names.Recv("*"), names.Status("*"), names.Event("*"))
	dead := logStream(names.DeadStream(), "dead letters", RecvAge, replicas, names.Dead("*"))
	// Stores write batches where there are copies.
	recv.AllowAtomicPublish, dead.AllowAtomicPublish = true, true
	specs := []jetstream.StreamConfig{send, recv, dead}
	for _, bucket := range buckets() {
		specs = append(specs, kvStream(names.Bucket(bucket.kind), bucket.about, bucket.age, replicas))
	}
	return append(specs, objectStream(names.Bucket(MediaBucket), "media, named by SHA-256", MediaAge, replicas))
}

func logStream(name, about string, age time.Duration, replicas int, subjects ...string) jetstream.StreamConfig {
	s := base(name, about, age, replicas, subjects...)
	s.Discard = jetstream.DiscardOld
	s.Duplicates = Dedupe
	s.MaxMsgsPerSubject = -1
	return s
}

// kvStream is what jetstream.CreateKeyValue makes, with more consumers.
func kvStream(bucket, about string, age time.Duration, replicas int) jetstream.StreamConfig {
	s := base("KV_"+bucket, about, age, replicas, "$KV."+bucket+".>")
	s.Discard = jetstream.DiscardNew
	s.Duplicates = 2 * time.Minute
	s.MaxMsgsPerSubject = 1
	s.AllowRollup = true
	s.DenyDelete = true
	return s
}

// objectStream is what jetstream.CreateObjectStore makes, with more consumers
// and without direct gets: a copy that lags would not know an object that was
// stored a moment ago.
func objectStream(bucket, about string, age time.Duration, replicas int) jetstream.StreamConfig {
	s := base("OBJ_"+bucket, about, age, replicas, "$O."+bucket+".C.>", "$O."+bucket+".M.>")
	s.Discard = jetstream.DiscardNew
	s.Duplicates = 2 * time.Minute
	s.MaxMsgsPerSubject = -1
	s.AllowRollup = true
	s.AllowDirect = false
	return s
}

func base(name, about string, age time.Duration, replicas int, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:         name,
		Description:  "wabridge: " + about,
		Subjects:     subjects,
		Retention:    jetstream.LimitsPolicy,
		Storage:      jetstream.FileStorage,
		Replicas:     replicas,
		MaxAge:       age,
		MaxMsgs:      -1,
		MaxBytes:     -1,
		MaxMsgSize:   -1,
		MaxConsumers: maxConsumers,
		AllowDirect:  true,
	}
}

// copies is how many copies to create: those asked for, or what the server is
// good for.
func (b *Broker) copies() int {
	switch {
	case b.config.Replicas > 0:
		return b.config.Replicas
	case b.nc.ConnectedClusterName() != "":
		return 3
	}
	return 1
}

// shardsOf reads the number of shards from WA_SEND's transform.
func shardsOf(c jetstream.StreamConfig) (int, bool) {
	if c.SubjectTransform == nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(c.SubjectTransform.Destination, "{{partition(")
	if !ok {
		return 0, false
	}
	var n int
	if _, err := fmt.Sscanf(rest, "%d,1)}}.{{wildcard(1)}}", &n); err != nil || n < 1 {
		return 0, false
	}
	return n, true
}
