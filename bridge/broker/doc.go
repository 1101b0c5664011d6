// Package broker is the JetStream side of the bridge: the connection, what
// must exist on the server (streams, buckets) and its verification, the shard
// consumers of commands, the ordered store of what is said, reads by sequence,
// the KV buckets and the media store.
//
// It knows subjects, sequences and answers; it does not know what a message
// means: decoding, lanes and settling are outbound's, ordering by platform
// sequence and poison are inbound's, and who owns a shard is ownership's.
package broker
