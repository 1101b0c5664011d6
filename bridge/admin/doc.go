// Package admin serves what operators and orchestrators ask a process. Over
// HTTP: whether it lives (/livez), whether it should get work (/readyz), and its
// metrics (/metrics); it listens on loopback unless told otherwise, since it has
// no authorization of its own. Over NATS: a micro service with the status of
// sessions, pause, resume, redrive and send, for whoever NATS permits. What makes
// the process ready is decided by the checks that it is given, what is counted by
// the handler, what a request does by the Control.
package admin
