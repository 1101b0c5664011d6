// Command wabridge joins WhatsApp to NATS JetStream: `wabridge` or `wabridge
// run` is the service; the other commands watch it, test it and work on what it
// stored. See `wabridge help` and, for the environment, `wabridge help config`.
//
// Here live the command line, its exit codes and the reading of the
// environment. What the service does lives in wabridge/bridge/app; what the
// subjects and streams are, in wabridge/bridge and wabridge/bridge/broker.
package main
