// Package cloudapi is the platform of Meta's own WhatsApp Business Cloud API:
// sends go out over the Graph API, what WhatsApp says comes in by webhooks.
//
// A [Graph] is the HTTP client of one token; a [Session] sends with it and
// watches the token; [Webhooks] verifies what is posted, and [Routes] says
// which session it belongs to, on every replica and not only on the one that
// owns the session; [Media] moves files between Graph and an object store.
// Check, Exchange and Register are for an operator's command line.
//
// What a message means is package codec's, tokens and signatures are package
// auth's. Nothing here knows NATS: what arrives is given to a [Receiver].
package cloudapi
