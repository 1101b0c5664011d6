package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxMedia = 100 << 20
	// urlLife is how long a media URL can be fetched.
	urlLife = 5 * time.Minute
)

// media is one uploaded file.
type media struct {
	id, mime, sha256 string
	bytes            []byte
	app              string // whose it is; "" for a user's
}

// AddMedia uploads a file as a user's phone does; its id can be written in a
// message. Of a media object that has the id alone, type and hash are filled in.
func (s *Simulator) AddMedia(mimeType string, b []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addMedia("", mimeType, b).id
}

func (s *Simulator) addMedia(app, mimeType string, b []byte) *media {
	sum := sha256.Sum256(b)
	s.mediaSeq++
	m := &media{id: strconv.Itoa(660000000000000 + s.mediaSeq), mime: mimeType, sha256: hex.EncodeToString(sum[:]), bytes: b, app: app}
	s.media[m.id] = m
	return m
}

func (s *Simulator) findMedia(id string) *media {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.media[id]
}

// fillMedia completes a media object that a user wrote. Call it with mu held.
func (s *Simulator) fillMedia(w *written) {
	id, whole := "", false
	if err := walkObject(w.content, func(key, value []byte) error {
		switch string(key) {
		case "id":
			id = text(value)
		case "sha256", "mime_type":
			whole = true
		}
		return nil
	}); err != nil || whole {
		return
	}
	m := s.media[id]
	if m == nil || !slices.Contains([]string{"image", "audio", "video", "document", "sticker"}, w.kind) {
		return
	}
	filled := append([]byte(nil), `{"mime_type":`...)
	filled = appendText(filled, m.mime)
	filled = append(filled, `,"sha256":`...)
	filled = appendText(filled, m.sha256)
	filled = append(filled, ',')
	w.content = append(filled, w.content[skipSpace(w.content, 0)+1:]...)
}

// allowedMedia tells whether WhatsApp takes a file of this type, and how large.
func allowedMedia(mimeType string) (limit int) {
	kind, _, _ := strings.Cut(mimeType, ";")
	switch kind {
	case "audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg", "video/3gpp", "video/mp4":
		return 16 << 20
	case "image/jpeg", "image/png":
		return 5 << 20
	case "image/webp":
		return 500 << 10
	case "text/plain", "application/pdf", "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		"application/vnd.openxmlformats-officedocument.presentationml.presentation":
		return maxMedia
	}
	return 0
}

// graphUpload takes a multipart upload.
func (s *Simulator) graphUpload(w http.ResponseWriter, r *http.Request) {
	sess, bad := s.graphSession(r, ScopeMessaging)
	if bad != nil {
		s.graphError(w, bad)
		return
	}
	product, mimeType, file, err := readUpload(w, r)
	limit := allowedMedia(mimeType)
	switch {
	case err != nil:
		s.graphError(w, newAPIError(100, err.Error()))
		return
	case product != "whatsapp":
		s.graphError(w, newAPIError(100, "The parameter messaging_product is required."))
		return
	case file == nil:
		s.graphError(w, newAPIError(100, "The parameter file is required."))
		return
	case limit == 0:
		s.graphError(w, newAPIError(131053, "Param file must be a file with one of the types that WhatsApp takes"))
		return
	case len(file) > limit:
		s.graphError(w, newAPIError(131053, "The file is too large for its type"))
		return
	}
	s.mu.Lock()
	app := ""
	if sess.cfg.Webhook != nil {
		app = sess.cfg.Webhook.AppID
	}
	m := s.addMedia(app, mimeType, file)
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]string{"id": m.id})
}

func readUpload(w http.ResponseWriter, r *http.Request) (product, mimeType string, file []byte, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxMedia+1<<20)
	parts, err := r.MultipartReader()
	if err != nil {
		return "", "", nil, errors.New("the body is not multipart/form-data")
	}
	onFile := ""
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", "", nil, errors.New("the body cannot be read")
		}
		b, err := io.ReadAll(part)
		if err != nil {
			return "", "", nil, errors.New("the body cannot be read")
		}
		switch part.FormName() {
		case "messaging_product":
			product = string(b)
		case "type":
			mimeType = string(b)
		case "file":
			file, onFile = b, part.Header.Get("Content-Type")
			if file == nil {
				file = []byte{}
			}
		}
	}
	if mimeType == "" {
		mimeType = onFile
	}
	return product, mimeType, file, nil
}

// graphMedia resolves an id to a URL of five minutes.
func (s *Simulator) graphMedia(w http.ResponseWriter, r *http.Request, m *media) {
	if _, bad := s.graphToken(r); bad != nil {
		s.graphError(w, bad)
		return
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	ends := strconv.FormatInt(time.Now().Add(urlLife).Unix(), 10)
	writeJSON(w, http.StatusOK, map[string]any{
		"messaging_product": "whatsapp", "mime_type": m.mime, "sha256": m.sha256, "file_size": strconv.Itoa(len(m.bytes)), "id": m.id,
		"url": scheme + "://" + r.Host + "/media/" + m.id + "?ext=" + ends + "&hash=" + s.urlHash(m.id, ends),
	})
}

func (s *Simulator) urlHash(id, ends string) string { return sign(s.wamids.boot, []byte(id+ends))[:24] }

// serveMedia is the download.
func (s *Simulator) serveMedia(w http.ResponseWriter, r *http.Request) {
	if s.httpFault(w, r, FaultMedia, "") {
		return
	}
	id, ends := r.PathValue("id"), r.URL.Query().Get("ext")
	m := s.findMedia(id)
	unix, err := strconv.ParseInt(ends, 10, 64)
	switch {
	case m == nil, err != nil, r.URL.Query().Get("hash") != s.urlHash(id, ends), time.Now().Unix() > unix:
		http.NotFound(w, r)
		return
	}
	if _, err := s.tokens.lookup(bearer(r)); err != nil {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	kind := m.mime
	if _, _, err := mime.ParseMediaType(kind); err != nil {
		kind = "application/octet-stream"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(m.bytes)))
	_, _ = w.Write(m.bytes) // the client may have left
}

func (s *Simulator) graphDelete(w http.ResponseWriter, r *http.Request) {
	_, bad := s.graphToken(r)
	if bad == nil {
		s.mu.Lock()
		if s.media[r.PathValue("id")] == nil {
			bad = newAPIError(100, "Object does not exist")
			bad.Subcode = 33
		}
		delete(s.media, r.PathValue("id"))
		s.mu.Unlock()
	}
	s.graphOutcome(w, bad)
}
