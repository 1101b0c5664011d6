package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// httpTimeout bounds one request to a token endpoint, its answer included.
const httpTimeout = 15 * time.Second

// idleConns and idleTime bound what is kept of connections for the next request:
// as many as there may be requests at once when many sessions begin, or each
// would make, and close, one of its own.
const (
	idleConns = 512
	idleTime  = 5 * time.Second
)

// Config says how to get tokens from an OAuth 2.0 server.
type Config struct {
	// TokenURL is the token endpoint: https, or http to a loopback address.
	TokenURL string
	// ClientID and ClientSecret name the client; the secret itself, not a
	// reference. A public client with a refresh token has no secret.
	ClientID     string
	ClientSecret string
	// Scopes are asked for; empty leaves the choice to the server.
	Scopes []string
	// InParams sends the client's credentials in the request's body, for
	// servers that do not take them in the Authorization header.
	InParams bool
	// AllowInsecure permits http to any host.
	AllowInsecure bool
	// Client makes the requests; nil means one by NewHTTPClient.
	Client *http.Client
	// Fetched, where not nil, hears of each fetch of a source: its token, or why
	// there is none. It must not block.
	Fetched func(Token, error)
}

// NewHTTPClient returns a client fit for token endpoints: it gives up after 15
// seconds, follows no redirect (the credentials would follow it), and keeps a
// connection only for a moment, as tokens are fetched rarely, or many at once
// when many sessions begin. Sessions may share one.
func NewHTTPClient() *http.Client {
	return &http.Client{
		Timeout: httpTimeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			MaxIdleConnsPerHost:    idleConns,
			IdleConnTimeout:        idleTime,
			TLSHandshakeTimeout:    httpTimeout,
			ResponseHeaderTimeout:  httpTimeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// faults reports everything that is wrong with c.
func (c *Config) faults() error {
	var faults []error
	if c.ClientID == "" {
		faults = append(faults, errors.New("client id: missing"))
	}
	u, err := url.Parse(c.TokenURL)
	switch {
	case c.TokenURL == "":
		faults = append(faults, errors.New("token URL: missing"))
	case err != nil, u.Host == "":
		faults = append(faults, errors.New("token URL: not a URL with a host"))
	case u.User != nil:
		faults = append(faults, errors.New("token URL: must not hold credentials"))
	case u.Scheme == "https", u.Scheme == "http" && (c.AllowInsecure || Loopback(u.Hostname())):
	default:
		faults = append(faults, errors.New("token URL: must be https (http only to a loopback address)"))
	}
	return errors.Join(faults...)
}

// Loopback reports whether host, a name or an address, is this machine itself:
// then a token may go to it in clear.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// style is fixed: x/oauth2's detection sends each failing request twice.
func (c *Config) style() oauth2.AuthStyle {
	if c.InParams {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// with gives ctx the client that x/oauth2 is to use. x/oauth2 itself reads no
// more than 1 MiB of an answer.
func (c *Config) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.Client)
}

// prepared returns a copy of c with its defaults, or every fault of it.
func (c Config) prepared() (*Config, error) {
	if err := c.faults(); err != nil {
		return nil, err
	}
	if c.Client == nil {
		c.Client = NewHTTPClient()
	}
	return &c, nil
}

// NewClientCredentials returns a source that uses the client credentials grant.
func NewClientCredentials(c Config) (Source, error) {
	p, err := c.prepared()
	if c.ClientSecret == "" {
		err = errors.Join(err, errors.New("client secret: missing"))
	}
	if err != nil {
		return nil, fmt.Errorf("client credentials: %w", err)
	}
	grant := &clientcredentials.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, TokenURL: p.TokenURL,
		Scopes: p.Scopes, AuthStyle: p.style(),
	}
	return p.renewing(func(ctx context.Context) (Token, error) {
		now := time.Now()
		t, err := grant.Token(p.with(ctx))
		if err != nil {
			return Token{}, scrub(err)
		}
		return p.token(t, now)
	}), nil
}

// renewing is a source that tells Fetched of its fetches.
func (c *Config) renewing(fetch func(context.Context) (Token, error)) *renewing {
	if c.Fetched == nil {
		return newRenewing(fetch)
	}
	return newRenewing(func(ctx context.Context) (Token, error) {
		token, err := fetch(ctx)
		c.Fetched(token, err)
		return token, err
	})
}

// token reads a token that was asked for at now.
func (c *Config) token(t *oauth2.Token, now time.Time) (Token, error) {
	if !t.Expiry.IsZero() && !t.Expiry.After(now) {
		return Token{}, errors.New("reading the token endpoint's answer: the token has ended already")
	}
	// A token goes into an HTTP header and is of visible characters (RFC 6750).
	if strings.ContainsFunc(t.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Token{}, errors.New("reading the token endpoint's answer: the token has characters that no header can carry")
	}
	scopes := c.Scopes
	if granted, ok := t.Extra("scope").(string); ok && granted != "" {
		scopes = strings.Fields(granted)
	}
	return newToken(t.AccessToken, now, t.Expiry, scopes), nil
}
