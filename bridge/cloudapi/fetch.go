package cloudapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wabridge/codec"
)

const (
	fetchTimeout = 5 * time.Minute // for one file, all tries
	fetchTries   = 4
	fetchPause   = time.Second
	storePause   = 10 * time.Second
	// objectFresh is how old an object may be to be named again: it goes a week
	// after it was stored.
	objectFresh = 24 * time.Hour
)

// attachment is the "media" member of a stored message.
type attachment struct {
	Object string `json:"object,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	MIME   string `json:"mime_type,omitempty"`
	Error  string `json:"error,omitempty"`
}

// attach fetches a message's file into the object store and returns data with
// the reference beside the message, or with the reason why there is none. It
// blocks for fetchTimeout at most. Data stays byte for byte as it is.
func (m *Media) attach(ctx context.Context, data []byte, file *codec.InboundMedia) []byte {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	made := attachment{MIME: file.MIME}
	// Meta sends a message again, or twice at once: one of them fetches.
	found, err, _ := m.sharing.Do("fetch "+file.ID, func() (any, error) { return m.fetch(ctx, file) })
	if err == nil {
		object := found.(Object)
		made.Object, made.Size, made.SHA256 = object.Name, object.Size, object.SHA256
	} else {
		m.log.Warn("a message's file could not be fetched", "kind", file.Kind, "error", err)
		made = attachment{Error: err.Error()}
	}
	member, err := json.Marshal(made)
	end := len(data) - 1
	if err != nil || end < 1 || data[end] != '}' {
		return data
	}
	out := make([]byte, 0, len(data)+len(member)+len(`,"media":`))
	out = append(out, data[:end]...)
	out = append(out, `,"media":`...)
	out = append(out, member...)
	return append(out, '}')
}

// fetch finds a file in the store or brings it there, in a bounded number of
// tries. While only the store is in the way it goes on until ctx ends.
func (m *Media) fetch(ctx context.Context, file *codec.InboundMedia) (Object, error) {
	if !validID(file.ID) {
		return Object{}, errors.New("the media id is not one of Meta's")
	}
	want := hexHash(file.SHA256)
	if want != "" {
		object, err := m.objects.Stat(ctx, want)
		if err == nil && (object.Stored.IsZero() || time.Since(object.Stored) < objectFresh) {
			return object, nil
		}
	}
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		return Object{}, errors.New("it waited too long behind others")
	}
	wait := m.wait
	for try := 1; ; {
		object, err := m.fetchOnce(ctx, file.ID, want)
		if err == nil {
			return object, nil
		}
		if stored, ok := errors.AsType[*storeError](err); ok {
			if !pause(ctx, min(wait, storePause)) {
				return Object{}, stored
			}
		} else {
			if try == fetchTries || !retriable(err) || !pause(ctx, wait) {
				return Object{}, err
			}
			try++
		}
		wait *= 2
	}
}

// retriable reports whether another try may do better.
func retriable(err error) bool {
	if said, ok := errors.AsType[*AnswerError](err); ok {
		class := said.rule().Class
		return class == codec.Transient || class == codec.Throttled || class == codec.Unknown
	}
	if answered, ok := errors.AsType[*statusError](err); ok {
		return answered.worthRetry()
	}
	return !errors.Is(err, errTooBig) && !errors.Is(err, errHost)
}

// location is what Graph says about a media id.
type location struct {
	URL    string      `json:"url"`
	SHA256 string      `json:"sha256"`
	Size   json.Number `json:"file_size"` // a string, or a number
}

// errHost is an address that the token must not go to.
var errHost = errors.New("the file is on a host that is not known as Meta's")

// storeError is trouble of the object store's own.
type storeError struct{ err error }

func (e *storeError) Error() string { return "storing the file: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// fetchOnce resolves a media id and streams the file into the store. An
// address that is gone already is resolved again, once.
func (m *Media) fetchOnce(ctx context.Context, id, want string) (Object, error) {
	for again := false; ; again = true {
		var found location
		query := url.Values{"phone_number_id": {m.phoneID}}
		if err := m.graph.call(ctx, http.MethodGet, id, query, nil, &found); err != nil {
			return Object{}, fmt.Errorf("resolving the media id: %w", err)
		}
		if size, err := found.Size.Int64(); err == nil && size > maxMedia {
			return Object{}, errTooBig
		}
		hashes := []string{want, hexHash(found.SHA256)}
		object, err := m.download(ctx, found.URL, hashes)
		if answered, ok := errors.AsType[*statusError](err); ok && answered.status == http.StatusNotFound && !again {
			continue
		}
		if err != nil {
			return Object{}, fmt.Errorf("downloading the file: %w", err)
		}
		return object, nil
	}
}

// download streams one file into the store, checking every hash that is not "".
func (m *Media) download(ctx context.Context, address string, hashes []string) (Object, error) {
	u, err := url.Parse(address)
	if err != nil || !m.graph.trusts(u) {
		return Object{}, errHost
	}
	token, err := m.graph.token.Token(ctx)
	if err != nil {
		return Object{}, fmt.Errorf("getting a token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Object{}, errHost
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	res, err := m.graph.http.Do(req)
	if err != nil {
		return Object{}, withoutURL(err)
	}
	defer res.Body.Close() //nolint:errcheck // the body was read, or its error is reported
	if res.StatusCode != http.StatusOK {
		return Object{}, &statusError{res.StatusCode}
	}
	if res.ContentLength > maxMedia {
		return Object{}, errTooBig
	}
	checked := &checkedReader{r: newBounded(res.Body), sum: sha256.New(), want: hashes}
	object, err := m.objects.Put(ctx, checked)
	switch {
	case checked.err != nil:
		return Object{}, checked.err
	case err != nil:
		return Object{}, &storeError{err}
	default:
		return object, nil
	}
}

// trusts reports whether the token may be sent to u: to Graph itself and to the
// hosts that Meta keeps files on.
func (g *Graph) trusts(u *url.URL) bool {
	if u.User != nil {
		return false
	}
	if u.Scheme == g.base.Scheme && strings.EqualFold(u.Host, g.base.Host) {
		return true
	}
	host := strings.ToLower(u.Hostname())
	if loopbackHost(host) && loopbackHost(g.base.Hostname()) {
		return true
	}
	if u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
		return false
	}
	for _, domain := range []string{"fbsbx.com", "whatsapp.net", "facebook.com"} {
		if strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

// errHash is a file that is not the one that was announced.
var errHash = errors.New("the file's SHA-256 is not the one that was announced")

// checkedReader fails at its end where the content has not the hashes wanted,
// and remembers how reading ended.
type checkedReader struct {
	r    io.Reader
	sum  hash.Hash
	want []string // hex; "" is not looked at
	err  error    // other than io.EOF
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		got := hex.EncodeToString(c.sum.Sum(nil))
		for _, want := range c.want {
			if want != "" && want != got {
				err = errHash
			}
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
