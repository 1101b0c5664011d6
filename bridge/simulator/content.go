package simulator

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// checkContent holds the message object to the rules of its type.
func (b *sendBody) checkContent(raw []byte) *apiError {
	switch b.kind {
	case "text":
		return checkText(raw)
	case "image", "audio", "video", "document", "sticker":
		return checkMedia(b.kind, raw)
	case "location":
		var l struct{ Latitude, Longitude *json.Number }
		if bad := decode(raw, &l, "location"); bad != nil {
			return bad
		}
		if l.Latitude == nil || l.Longitude == nil {
			return newAPIError(131008, "Required parameter is missing: location.latitude and location.longitude")
		}
		return inRange("location", l.Latitude, l.Longitude)
	case "contacts":
		return checkContacts(raw)
	case "reaction":
		var r struct {
			MessageID string `json:"message_id"`
			Emoji     *string
		}
		if bad := decode(raw, &r, "reaction"); bad != nil {
			return bad
		}
		if r.MessageID == "" || r.Emoji == nil {
			return newAPIError(131008, "Required parameter is missing: reaction.message_id and reaction.emoji")
		}
		b.messageID = r.MessageID
		return nil
	case "interactive":
		return checkInteractive(raw)
	default:
		return b.checkTemplate(raw)
	}
}

func decode(raw []byte, into any, where string) *apiError {
	if err := json.Unmarshal(raw, into); err != nil {
		return newAPIError(100, where+" is not what its type asks for")
	}
	return nil
}

func checkText(raw []byte) *apiError {
	body, seen, isText := "", false, true
	err := walkObject(raw, func(key, value []byte) error {
		if string(key) == "body" {
			body, seen, isText = text(value), true, isString(value)
		}
		return nil
	})
	switch {
	case err != nil || !isText:
		return newAPIError(100, "text must be an object with a string body")
	case !seen || body == "":
		return newAPIError(131008, "Required parameter is missing: text.body")
	case tooLong(body, 4096):
		return newAPIError(100, "Param text['body'] must be at most 4096 characters long.")
	}
	return nil
}

func inRange(where string, lat, long *json.Number) *apiError {
	a, err1 := lat.Float64()
	o, err2 := long.Float64()
	if err1 != nil || err2 != nil || a < -90 || a > 90 || o < -180 || o > 180 {
		return newAPIError(131009, where+" is not a place on earth")
	}
	return nil
}

type mediaObject struct {
	ID, Link, Caption, Filename *string
}

func checkMedia(kind string, raw []byte) *apiError {
	var m mediaObject
	if bad := decode(raw, &m, kind); bad != nil {
		return bad
	}
	switch {
	case (m.ID == nil) == (m.Link == nil):
		return newAPIError(131009, kind+" needs exactly one of id and link")
	case m.Link != nil && !webURL(*m.Link):
		return newAPIError(131009, kind+".link is not an http or https URL")
	case m.ID != nil && *m.ID == "":
		return newAPIError(131009, kind+".id is empty")
	case m.Caption != nil && (kind == "audio" || kind == "sticker"):
		return newAPIError(100, kind+" takes no caption")
	case m.Caption != nil && tooLong(*m.Caption, 1024):
		return newAPIError(100, "Param "+kind+"['caption'] must be at most 1024 characters long.")
	case m.Filename != nil && kind != "document":
		return newAPIError(100, kind+" takes no filename")
	}
	return nil
}

func webURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func checkContacts(raw []byte) *apiError {
	var list []struct {
		Name struct {
			Formatted string `json:"formatted_name"`
			First     string `json:"first_name"`
			Last      string `json:"last_name"`
			Middle    string `json:"middle_name"`
			Prefix    string
			Suffix    string
		}
	}
	if bad := decode(raw, &list, "contacts"); bad != nil {
		return bad
	}
	if len(list) == 0 || len(list) > 257 {
		return newAPIError(131009, "contacts must hold 1 to 257 contacts")
	}
	for i, c := range list {
		if c.Name.Formatted == "" {
			return newAPIError(131008, fmt.Sprintf("Required parameter is missing: contacts[%d].name.formatted_name", i))
		}
	}
	return nil
}

func (b *sendBody) checkTemplate(raw []byte) *apiError {
	var t struct {
		Name     string
		Language struct{ Code string }
		// Category is no part of the Cloud API, which knows it from the template.
		Components []struct {
			Type    string
			SubType string `json:"sub_type"`
			Index   any
		}
	}
	if bad := decode(raw, &t, "template"); bad != nil {
		return bad
	}
	switch {
	case t.Name == "":
		return newAPIError(131008, "Required parameter is missing: template.name")
	case t.Language.Code == "":
		return newAPIError(131008, "Required parameter is missing: template.language.code")
	}
	for i, c := range t.Components {
		switch c.Type {
		case "":
			return newAPIError(131008, fmt.Sprintf("Required parameter is missing: template.components[%d].type", i))
		case "button", "BUTTON":
			if c.SubType == "" {
				return newAPIError(131008, fmt.Sprintf("Required parameter is missing: template.components[%d].sub_type", i))
			}
		}
	}
	b.category = templateCategory(t.Name)
	return nil
}

// templateCategory: the Cloud API knows it from the template's approval; here
// the name says it. What begins with utility_ or auth_ is that, all else marketing.
func templateCategory(name string) string {
	for prefix, category := range map[string]string{"utility_": "utility", "auth_": "authentication"} {
		if strings.HasPrefix(name, prefix) {
			return category
		}
	}
	return "marketing"
}
