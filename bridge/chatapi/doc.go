// Package chatapi is the Chat API platform: one WhatsApp session on a WebSocket
// that carries CloudEvents in JSON. [New] makes a bridge.Session of a
// definition; its Run connects and stays connected through lost connections,
// tokens that end, and a platform that asks it to wait.
//
// Inside, a connection is a link: the goroutine that reads hands events to the
// host in order and matches answers with sends; the goroutine of Run writes
// sends, acks, pings and renewed tokens. Sends live in a table of their own, so
// that each is answered exactly once whatever becomes of the link.
//
// It stores nothing, orders no conversations and retries no send: the host and
// the outbound side do. The protocol is described for implementers of a
// platform in deploy/docs/chat-api.md.
package chatapi
