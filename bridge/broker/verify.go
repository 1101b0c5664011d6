package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ContradictionError says that something exists on the server which the bridge
// cannot work with. It is never changed silently.
type ContradictionError struct {
	Stream string
	Field  string // as in the JSON configuration
	Found  string
	Wanted string
	Remedy string // what to do
}

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("stream %s: %s is %s, want %s: %s", e.Stream, e.Field, e.Found, e.Wanted, e.Remedy)
}

const (
	remedyEdit     = "change it with `nats stream edit`"
	remedyRecreate = "it cannot be changed in place: move the data away and let the stream be created anew"
	remedyConsumer = "delete the consumer: the bridge creates it again"
)

// checks collects what differs.
type checks struct {
	stream string
	faults []error
}

func (c *checks) want(ok bool, field string, found, wanted any, remedy string) {
	if ok {
		return
	}
	c.faults = append(c.faults, &ContradictionError{
		Stream: c.stream, Field: field, Found: fmt.Sprint(found), Wanted: fmt.Sprint(wanted), Remedy: remedy,
	})
}

// check compares a stream with what it must be. Longer ages and windows,
// limits of size, compression, placement and the like are the operator's
// choice; so are the copies where replicas is 0.
func check(wanted, found jetstream.StreamConfig, replicas int) error {
	c := &checks{stream: wanted.Name}
	c.want(sameSubjects(found.Subjects, wanted.Subjects), "subjects",
		strings.Join(found.Subjects, " "), strings.Join(wanted.Subjects, " "), remedyEdit)
	c.want(transform(found) == transform(wanted), "subject_transform", transform(found), transform(wanted), remedyRecreate)
	c.want(found.Retention == wanted.Retention, "retention", found.Retention, wanted.Retention, remedyRecreate)
	c.want(found.Storage == wanted.Storage, "storage", found.Storage, wanted.Storage, remedyRecreate)
	c.want(found.Discard == wanted.Discard, "discard", found.Discard, wanted.Discard, remedyEdit)
	// More history than a bucket needs does no harm.
	c.want(found.MaxMsgsPerSubject == wanted.MaxMsgsPerSubject || wanted.MaxMsgsPerSubject > 0 && found.MaxMsgsPerSubject > 0, "max_msgs_per_subject",
		found.MaxMsgsPerSubject, wanted.MaxMsgsPerSubject, remedyEdit)
	c.want(found.MaxAge == 0 || wanted.MaxAge != 0 && found.MaxAge >= wanted.MaxAge, "max_age",
		age(found.MaxAge), "at least "+age(wanted.MaxAge), remedyEdit)
	c.want(found.Duplicates >= wanted.Duplicates, "duplicate_window",
		found.Duplicates, fmt.Sprintf("at least %v", wanted.Duplicates), remedyEdit)
	c.want(found.MaxConsumers <= 0 || found.MaxConsumers >= fewestConsumers, "max_consumers",
		found.MaxConsumers, fmt.Sprintf("at least %d", fewestConsumers), remedyRecreate)
	c.want(found.AllowDirect || !wanted.AllowDirect, "allow_direct", found.AllowDirect, true, remedyEdit)
	c.want(!wanted.AllowRollup || found.AllowRollup, "allow_rollup_hdrs", found.AllowRollup, true, remedyEdit)
	c.want(!found.NoAck, "no_ack", found.NoAck, false, remedyEdit)
	c.want(!found.Sealed, "sealed", found.Sealed, false, remedyRecreate)
	c.want(found.Mirror == nil, "mirror", "set", "none", remedyRecreate)
	// A command that erases itself ends without an outcome.
	c.want(wanted.SubjectTransform == nil || !found.AllowMsgTTL, "allow_msg_ttl", found.AllowMsgTTL, false, remedyRecreate)
	c.want(found.PersistMode == jetstream.DefaultPersistMode, "persist_mode", found.PersistMode, jetstream.DefaultPersistMode, remedyRecreate)
	c.want(replicas == 0 || found.Replicas == replicas, "num_replicas", found.Replicas, replicas,
		"change it with `nats stream edit`, or configure the number found")
	return errors.Join(c.faults...)
}

// checkConsumer compares a shard's consumer with what it must be.
func checkConsumer(stream string, wanted, found jetstream.ConsumerConfig) error {
	c := &checks{stream: stream + " consumer " + wanted.Durable}
	c.want(found.FilterSubject == wanted.FilterSubject, "filter_subject", found.FilterSubject, wanted.FilterSubject, remedyConsumer)
	c.want(found.DeliverPolicy == wanted.DeliverPolicy, "deliver_policy", found.DeliverPolicy, wanted.DeliverPolicy, remedyConsumer)
	c.want(found.AckPolicy == wanted.AckPolicy, "ack_policy", found.AckPolicy, wanted.AckPolicy, remedyConsumer)
	c.want(found.AckWait >= wanted.AckWait, "ack_wait", found.AckWait, wanted.AckWait, remedyConsumer)
	c.want(found.MaxDeliver == wanted.MaxDeliver, "max_deliver", found.MaxDeliver, wanted.MaxDeliver, remedyConsumer)
	c.want(found.MaxAckPending >= wanted.MaxAckPending, "max_ack_pending", found.MaxAckPending, wanted.MaxAckPending, remedyConsumer)
	c.want(!found.HeadersOnly, "headers_only", found.HeadersOnly, false, remedyConsumer)
	return errors.Join(c.faults...)
}

func sameSubjects(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
