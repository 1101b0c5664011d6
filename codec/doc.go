// Package codec reads and writes everything that crosses the bridge: commands
// and their limits, Cloud API messages, statuses and errors, CloudEvents in JSON
// and in NATS headers, the bridge's own reports. It is pure: no input or output,
// no clock, nothing of ours imported, every function safe for concurrent use.
//
// Bytes pass through: what the package does not change is spliced from its input,
// never decoded and encoded again, so unknown members, odd spaces, escapes and
// integers beyond 2^53 survive. Results may alias their input. Invalid UTF-8 in
// strings passes through as everything else, except in commands, which must be
// UTF-8. Errors never quote what they are about.
//
// Subjects, streams and sessions are package bridge's; tokens, package auth's.
package codec
