package cloudapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"wabridge/bridge"
	"wabridge/codec"
)

// sniffLength is how much of a file is looked at, in bytes.
const sniffLength = 512

// extensions are those of the formats that WhatsApp takes.
func extensions() map[string]string {
	return map[string]string{
		".aac": "audio/aac", ".amr": "audio/amr", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".ogg": "audio/ogg", ".opus": "audio/ogg",
		".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp",
		".mp4": "video/mp4", ".3gp": "video/3gpp",
		".txt": "text/plain", ".pdf": "application/pdf",
		".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
		".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	}
}

// extension returns the lower-case extension of a command's file, where it is
// one that WhatsApp knows, else "": of a document's file name, of the link, or
// of the object's name.
func extension(out *bridge.Outgoing, ref *codec.MediaRef) string {
	var body struct {
		Document struct {
			Filename string `json:"filename"`
		} `json:"document"`
	}
	candidates := []string{ref.Object}
	if u, err := url.Parse(ref.Link); err == nil {
		candidates = append(candidates, u.Path)
	}
	if ref.Path == "document" && json.Unmarshal(out.Body, &body) == nil {
		candidates = append(candidates, body.Document.Filename)
	}
	known := extensions()
	for _, name := range slices.Backward(candidates) {
		if ext := strings.ToLower(path.Ext(name)); known[ext] != "" {
			return ext
		}
	}
	return ""
}

// mimeOf says what to call a file that goes out as kind: by its first bytes
// where they tell, else by its extension. It is "" where WhatsApp would refuse
// it.
func mimeOf(kind, ext string, start []byte) string {
	named := extensions()[ext]
	if kind == "document" {
		if named != "" {
			return named
		}
		sniffed, _, _ := strings.Cut(sniff(start), ";")
		return sniffed
	}
	family := kind + "/"
	if kind == "sticker" {
		family = "image/webp"
	}
	sniffed := sniff(start)
	if kind == "audio" && sniffed == "video/mp4" {
		sniffed = "audio/mp4" // the same container
	}
	switch {
	case strings.HasPrefix(sniffed, family):
		return sniffed
	case sniffed == "application/octet-stream" && strings.HasPrefix(named, family):
		return named
	default:
		return ""
	}
}

// sniff is http.DetectContentType with the formats of phones.
func sniff(start []byte) string {
	brand := func(b string) bool {
		return len(start) >= 12 && string(start[4:8]) == "ftyp" && strings.HasPrefix(string(start[8:12]), b)
	}
	switch {
	case brand("3g"):
		return "video/3gpp"
	case brand("M4A"):
		return "audio/mp4"
	case brand(""):
		return "video/mp4"
	case bytes.HasPrefix(start, []byte("#!AMR")):
		return "audio/amr"
	case bytes.HasPrefix(start, []byte("OggS")):
		return "audio/ogg"
	case len(start) > 1 && start[0] == 0xff && start[1]&0xf6 == 0xf0:
		return "audio/aac"
	case len(start) > 1 && start[0] == 0xff && start[1]&0xe6 == 0xe2:
		return "audio/mpeg"
	default:
		return http.DetectContentType(start)
	}
}
