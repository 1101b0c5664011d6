package cloudapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"wabridge/codec"
)

const (
	linkTimeout   = 2 * time.Minute
	linkRedirects = 5
	linkTries     = 3
	// Meta itself keeps what a link led to for ten minutes.
	linkKept    = 10 * time.Minute
	linksKept   = 256
	linkHeaders = 15 * time.Second
)

var (
	errLink      = errors.New("the link is not an https address without user and password")
	errRedirects = errors.New("the link redirects too often")
)

// linkFetcher opens links that commands name. A link is anybody's text: it is
// followed to public addresses only, and carries nothing of ours.
type linkFetcher struct {
	http     *http.Client
	loopback bool

	mu   sync.Mutex
	kept map[[sha256.Size]byte]keptLink
}

// keptLink remembers which object a link led to.
type keptLink struct {
	object string
	until  time.Time
}

func newLinkFetcher(loopback bool) *linkFetcher {
	f := &linkFetcher{loopback: loopback, kept: make(map[[sha256.Size]byte]keptLink)}
	dialer := &net.Dialer{Timeout: dialTimeout, Control: newGuard(loopback).control}
	f.http = &http.Client{
		Transport: &http.Transport{
			// No proxy: it would dial in our place, past the guard.
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			ResponseHeaderTimeout:  linkHeaders,
			MaxResponseHeaderBytes: maxHeader,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConns:           8,
			DisableCompression:     true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > linkRedirects {
				return errRedirects
			}
			return f.check(r.URL)
		},
	}
	return f
}

// check refuses by its form what may not be fetched.
func (f *linkFetcher) check(u *url.URL) error {
	local := f.loopback && u.Scheme == "http" && loopbackHost(u.Hostname())
	if u.Scheme != "https" && !local || u.Host == "" || u.User != nil {
		return errLink
	}
	return nil
}

// open fetches a link; the caller closes the body. Errors are *mediaError.
func (f *linkFetcher) open(ctx context.Context, link string) (*http.Response, error) {
	u, err := url.Parse(link)
	if err != nil || f.check(u) != nil {
		return nil, &mediaError{class: codec.Invalid, err: errLink}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &mediaError{class: codec.Invalid, err: errLink}
	}
	res, err := f.http.Do(req)
	if err != nil {
		return nil, linkError(withoutURL(err))
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close() //nolint:errcheck // nothing of it is used
		answered := &statusError{res.StatusCode}
		if answered.worthRetry() {
			return nil, linkError(answered)
		}
		return nil, &mediaError{class: codec.Permanent, err: fmt.Errorf("fetching the link: %w", answered)}
	}
	if res.ContentLength > maxMedia {
		res.Body.Close() //nolint:errcheck // nothing of it is used
		return nil, linkError(errTooBig)
	}
	return res, nil
}

// linkError says what follows when a link could not be fetched.
func linkError(err error) *mediaError {
	for _, final := range []error{errAddress, errLink, errRedirects, errTooBig} {
		if errors.Is(err, final) {
			return &mediaError{class: codec.Invalid, err: fmt.Errorf("fetching the link: %w", final)}
		}
	}
	reason := errors.New("fetching the link: the connection failed")
	if answered, ok := errors.AsType[*statusError](err); ok {
		reason = fmt.Errorf("fetching the link: %w", answered)
	}
	return &mediaError{class: codec.Transient, tries: linkTries, err: reason}
}

// known returns the object that a link led to lately, or "".
func (f *linkFetcher) known(link string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.kept[sha256.Sum256([]byte(link))]
	if time.Now().After(k.until) {
		return ""
	}
	return k.object
}

// keep remembers it.
func (f *linkFetcher) keep(link, object string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.kept) >= linksKept {
		clear(f.kept)
	}
	f.kept[sha256.Sum256([]byte(link))] = keptLink{object: object, until: time.Now().Add(linkKept)}
}
