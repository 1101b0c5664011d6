// Package inbound stores what a platform says: messages, statuses, events, and
// what could not be read. One Session does it for one session of wabridge, in
// the platform's order, pipelined, each thing once; the platform hears that
// something is stored after JetStream has it and not before.
//
// Here live the bodies, headers and message ids of wa.recv, wa.status and
// wa.event, the dead letters of what could not be read, and the note of how far
// a numbered session is stored. Not here: connections and webhooks (chatapi,
// cloudapi), how JetStream is written and read (broker), the outcomes of
// commands (outbound), and the JSON itself (codec).
package inbound
