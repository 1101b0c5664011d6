// Package chatapi is the Chat API platform: one WhatsApp session on a WebSocket
// that carries CloudEvents in JSON. [New] makes a bridge.Session of a
// definition; its Start connects and stays connected through lost
// connections, tokens that end, and a platform that asks it to wait.
//
// Inside, a connection is a link. What arrives on it is read in runs of its
// reader, which hands events to the host in order and matches answers with sends;
// what is to be written, sends, acks, pings and renewed tokens, is written in
// turns of its writer. Neither has a goroutine while there is nothing to do: on
// Linux a poller, one for all links of a process, begins a run when something has
// arrived, and rounds, for all of them too, begin a turn when a ping is due. For
// that a socket knows where frames end, and never has what it does not show. Sends
// live in a table of their own, so that each is answered exactly once whatever
// becomes of the link.
//
// It stores nothing, orders no conversations and retries no send: the host and
// the outbound side do. The protocol is described for implementers of a
// platform in deploy/docs/chat-api.md.
package chatapi
