package cloudapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"wabridge/bridge"
	"wabridge/codec"
)

const (
	uploadTimeout = 5 * time.Minute
	uploadKept    = 29 * 24 * time.Hour // Meta keeps a file for 30 days
)

// uploaded is a value of the bucket of uploads.
type uploaded struct {
	ID string `json:"id"`
	At int64  `json:"at"` // unix seconds
}

// replace uploads what a command names by object or link, unless Meta has it,
// and returns the body with Meta's ids, and where they are kept. Nothing of the
// message has left when it fails: its errors are *mediaError, *refusedToken, or
// an *AnswerError with Graph's own object.
func (m *Media) replace(ctx context.Context, out *bridge.Outgoing) (body []byte, keys []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	refs := codec.FindMedia(out.Body)
	ids := make([]string, len(refs))
	keys = make([]string, len(refs))
	for i := range refs {
		if ids[i], keys[i], err = m.idOf(ctx, out, &refs[i]); err != nil {
			return nil, nil, err
		}
	}
	return codec.ReplaceMedia(out.Body, refs, ids), keys, nil
}

// idOf returns the id under which Meta has a file, and the key that it is
// remembered by.
func (m *Media) idOf(ctx context.Context, out *bridge.Outgoing, ref *codec.MediaRef) (id, key string, err error) {
	name := ref.Object
	if name == "" {
		if name, err = m.fetchLink(ctx, ref.Link); err != nil {
			return "", "", err
		}
	}
	object, err := m.objects.Stat(ctx, name)
	switch {
	case errors.Is(err, bridge.ErrNotFound):
		return "", "", &mediaError{class: codec.Permanent, err: errors.New("the object is not in the object store")}
	case err != nil:
		return "", "", &mediaError{class: codec.Transient, err: fmt.Errorf("looking for the object: %w", err)}
	case object.Size > maxMedia:
		return "", "", &mediaError{class: codec.Invalid, err: errTooBig}
	}
	file := upload{object: object, kind: ref.Kind, ext: extension(out, ref)}
	key = m.phoneID + "." + object.SHA256 + "." + file.kind + file.ext
	if id = m.lookUp(ctx, key); id != "" {
		return id, key, nil
	}
	id, err = m.uploadOnce(ctx, key, file)
	return id, key, err
}

// shared runs f once for all who ask for key meanwhile. They belong to one
// session, so that the first one's ctx serves them all.
func (m *Media) shared(key string, f func() (string, error)) (string, error) {
	made, err, _ := m.sharing.Do(key, func() (any, error) { return f() })
	if err != nil {
		return "", err
	}
	return made.(string), nil
}

// fetchLink streams what a link leads to into the object store and returns the
// object's name.
func (m *Media) fetchLink(ctx context.Context, link string) (string, error) {
	if name := m.links.known(link); name != "" {
		return name, nil
	}
	return m.shared("link "+link, func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, linkTimeout)
		defer cancel()
		res, err := m.links.open(ctx, link)
		if err != nil {
			return "", err
		}
		defer res.Body.Close() //nolint:errcheck // the body was read, or its error is reported
		body := &watched{r: newBounded(res.Body)}
		object, err := m.objects.Put(ctx, body)
		switch {
		case body.err != nil:
			return "", linkError(body.err)
		case err != nil:
			return "", &mediaError{class: codec.Transient, err: &storeError{err}}
		}
		m.links.keep(link, object.Name)
		return object.Name, nil
	})
}

// watched remembers how reading ended, to tell trouble of the source from
// trouble of whoever reads it.
type watched struct {
	r   io.Reader
	err error // other than io.EOF
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// lookUp returns the id under which Meta has a file, or "".
func (m *Media) lookUp(ctx context.Context, key string) string {
	entry, err := m.uploads.Get(ctx, key)
	if err != nil {
		if !errors.Is(err, bridge.ErrNotFound) {
			m.log.Warn("earlier uploads are not known; uploading again", "error", err)
		}
		return ""
	}
	var known uploaded
	if json.Unmarshal(entry.Value, &known) != nil || !validID(known.ID) ||
		time.Since(time.Unix(known.At, 0)) > uploadKept {
		return ""
	}
	return known.ID
}

// forget drops ids of which one is not known to Meta any more.
func (m *Media) forget(ctx context.Context, keys []string) {
	for _, key := range keys {
		if err := m.uploads.Delete(ctx, key); err != nil {
			m.log.Warn("an expired upload could not be forgotten", "error", err)
		}
	}
}

// upload is a file on its way to Meta.
type upload struct {
	object    Object
	kind, ext string
}

// uploadOnce gives Meta a file and remembers its id.
func (m *Media) uploadOnce(ctx context.Context, key string, file upload) (string, error) {
	return m.shared("upload "+key, func() (string, error) {
		id, err := m.upload(ctx, file)
		if err != nil {
			return "", err
		}
		value, err := json.Marshal(uploaded{ID: id, At: time.Now().Unix()})
		if err == nil {
			_, err = m.uploads.Put(ctx, key, value)
		}
		if err != nil {
			m.log.Warn("an upload could not be remembered", "error", err)
		}
		return id, nil
	})
}

// upload streams a file to Graph.
func (m *Media) upload(ctx context.Context, file upload) (string, error) {
	content, err := m.objects.Open(ctx, file.object.Name)
	if err != nil {
		return "", &mediaError{class: codec.Transient, err: fmt.Errorf("opening the object: %w", err)}
	}
	defer content.Close() //nolint:errcheck // it was only read
	start := make([]byte, min(sniffLength, file.object.Size))
	if _, err := io.ReadFull(content, start); err != nil {
		return "", &mediaError{class: codec.Transient, err: fmt.Errorf("reading the object: %w", err)}
	}
	mimeType := mimeOf(file.kind, file.ext, start)
	if mimeType == "" {
		return "", &mediaError{class: codec.Permanent, err: fmt.Errorf("the file is not of a format that WhatsApp takes as %s", file.kind)}
	}
	token, err := m.graph.token.Token(ctx)
	if err != nil {
		return "", tokenError(err)
	}
	head, tail, contentType := form(mimeType, "file"+file.ext)
	body := io.MultiReader(bytes.NewReader(head), bytes.NewReader(start), content, bytes.NewReader(tail))
	req, err := m.graph.request(ctx, http.MethodPost, m.phoneID+"/media", token.AccessToken, nil, body)
	if err != nil {
		return "", &mediaError{class: codec.Invalid, err: err}
	}
	req.ContentLength = int64(len(head)) + file.object.Size + int64(len(tail))
	req.Header.Set("Content-Type", contentType)
	a, err := m.graph.do(req)
	if err != nil {
		return "", &mediaError{class: codec.Transient, err: fmt.Errorf("uploading: %w", err)}
	}
	if err := a.refusal(); err != nil {
		return "", uploadError(err)
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(a.body, &made); err != nil || !validID(made.ID) {
		return "", &mediaError{class: codec.Transient, tries: bareTries, err: errors.New("uploading: Graph answered without an id")}
	}
	return made.ID, nil
}

// uploadError keeps Graph's own words; an upload that may or may not have
// happened is just done again.
func uploadError(err error) error {
	said, ok := errors.AsType[*AnswerError](err)
	if ok && said.Object == nil && said.Status >= http.StatusInternalServerError {
		return &mediaError{class: codec.Transient, tries: bareTries, err: fmt.Errorf("uploading: %w", err)}
	}
	return err
}

// form returns what stands before and after the file in a multipart body.
func form(mimeType, filename string) (head, tail []byte, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part := textproto.MIMEHeader{}
	part.Set("Content-Disposition", "form-data; name=\"file\"; filename="+strconv.Quote(filename))
	part.Set("Content-Type", mimeType)
	// Writing to a buffer does not fail.
	_ = w.WriteField("messaging_product", "whatsapp")
	_ = w.WriteField("type", mimeType)
	_, _ = w.CreatePart(part)
	cut := b.Len()
	_ = w.Close()
	return b.Bytes()[:cut], b.Bytes()[cut:], w.FormDataContentType()
}
