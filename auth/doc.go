// Package auth holds what proves who the bridge is: sources of OAuth 2.0
// access tokens (client credentials, refresh tokens that rotate, a file, a
// fixed token), references to secrets, granted scopes, the signatures of
// webhooks and Graph calls, and the sealing of tokens that are stored.
//
// It knows no platform, no session and no NATS: a platform asks a [Source] for
// a token and says when one was refused; where a rotated refresh token is kept
// is behind [Keeper]. Nothing here waits before it tries again: how long to
// stay away after a refusal is the platform's to decide. No error, and no
// printed value, holds a token or a secret.
package auth
