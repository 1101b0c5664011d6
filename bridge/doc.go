// Package bridge holds the words that the parts of wabridge share: sessions
// and their states, commands as they are delivered, what a platform takes and
// says, what is stored. It has no machinery: outbound, inbound, broker and the
// platforms speak to each other through the interfaces here and do not know
// each other. See deploy/docs/subjects.md for the names on the wire.
package bridge
