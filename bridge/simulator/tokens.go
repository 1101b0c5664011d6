package simulator

import (
	"fmt"
	"time"
)

// RevokeTokens ends every access token of a client ("" is every client), and
// with refresh its refresh tokens; connections that use one close with 4401.
// It tells how many tokens ended.
func (s *Simulator) RevokeTokens(client string, refresh bool) int {
	n := s.tokens.revoke(client, refresh)
	s.flush()
	return n
}

// ExpireTokens moves the end of a client's access tokens to in from now.
func (s *Simulator) ExpireTokens(client string, in time.Duration) int {
	n := s.tokens.expire(client, in)
	s.flush()
	return n
}

// IssueToken grants a client everything it may have, without asking it.
func (s *Simulator) IssueToken(client string) (access, refresh string, err error) {
	s.tokens.mu.Lock()
	c, ok := s.tokens.clients[client]
	s.tokens.mu.Unlock()
	if !ok {
		return "", "", fmt.Errorf("issuing token: no client %q", client)
	}
	refresh = s.tokens.issueRefresh(client, c.Scopes, "")
	access = s.tokens.issue(client, c.Scopes, "").value
	s.flush()
	return access, refresh, nil
}
