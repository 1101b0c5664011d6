package simulator

import (
	"encoding/json"
	"fmt"
)

type interactive struct {
	Type   string
	Header *struct {
		Type                   string
		Text                   string
		Image, Video, Document json.RawMessage
	}
	Body   *struct{ Text string }
	Footer *struct{ Text string }
	Action *interactiveAction
}

type interactiveAction struct {
	Button  string
	Buttons []struct {
		Type  string
		Reply struct{ ID, Title string }
	}
	Sections []struct {
		Title string
		Rows  []struct{ ID, Title, Description string }
		Items []json.RawMessage `json:"product_items"`
	}
	Name       string
	Parameters map[string]json.RawMessage
	Cards      []json.RawMessage
}

func limitError(param string, limit int) *apiError {
	return newAPIError(131009, fmt.Sprintf("Parameter value is not valid: interactive.%s must be 1 to %d characters long", param, limit))
}

func missingError(param string) *apiError {
	return newAPIError(131008, "Required parameter is missing: interactive."+param)
}

// lengthError checks a string that must be there.
func lengthError(param, value string, limit int) *apiError {
	if value == "" || tooLong(value, limit) {
		return limitError(param, limit)
	}
	return nil
}

func checkInteractive(raw []byte) *apiError {
	var m interactive
	if bad := decode(raw, &m, "interactive"); bad != nil {
		return bad
	}
	switch {
	case m.Type == "":
		return missingError("type")
	case m.Action == nil:
		return missingError("action")
	}
	if bad := m.checkFrame(); bad != nil {
		return bad
	}
	switch m.Type {
	case "button":
		return m.checkButtons()
	case "list":
		return m.checkList()
	case "cta_url":
		return m.checkLabel("cta_url", "display_text", 20)
	case "voice_call":
		return m.checkLabel("voice_call", "display_text", 20)
	case "flow":
		return m.checkLabel("flow", "flow_cta", 30)
	case "carousel":
		if len(m.Action.Cards) == 0 || len(m.Action.Cards) > 10 {
			return newAPIError(131009, "interactive.action.cards must hold 1 to 10 cards")
		}
	case "product_list":
		if m.Header == nil {
			return missingError("header")
		}
	case "product", "catalog_message", "location_request_message", "address_message", "contact_request", "call_permission_request", "order_details", "order_status":
	default:
		return newAPIError(131009, "interactive.type is not valid")
	}
	return nil
}

// checkFrame checks header, body and footer.
func (m *interactive) checkFrame() *apiError {
	limit := 1024
	if m.Type == "list" {
		limit = 4096
	}
	switch {
	case m.Body == nil && m.Type != "product" && m.Type != "carousel" && m.Type != "call_permission_request":
		return missingError("body")
	case m.Body != nil && (m.Body.Text == "" || tooLong(m.Body.Text, limit)):
		return limitError("body.text", limit)
	case m.Footer != nil && tooLong(m.Footer.Text, 60):
		return limitError("footer.text", 60)
	case m.Header == nil:
		return nil
	case m.Header.Type == "text":
		return lengthError("header.text", m.Header.Text, 60)
	case m.Type == "list":
		return newAPIError(131009, "interactive.header of a list must be text")
	}
	for kind, media := range map[string]json.RawMessage{"image": m.Header.Image, "video": m.Header.Video, "document": m.Header.Document} {
		if m.Header.Type == kind {
			if media == nil {
				return missingError("header." + kind)
			}
			return checkMedia(kind, media)
		}
	}
	return newAPIError(131009, "interactive.header.type is not valid")
}

func (m *interactive) checkButtons() *apiError {
	if n := len(m.Action.Buttons); n == 0 || n > 3 {
		return newAPIError(131009, "interactive.action.buttons must hold 1 to 3 buttons")
	}
	titles, ids := map[string]bool{}, map[string]bool{}
	for i, b := range m.Action.Buttons {
		at := fmt.Sprintf("action.buttons[%d]", i)
		if b.Type != "reply" {
			return newAPIError(131009, "interactive."+at+".type must be reply")
		}
		if bad := lengthError(at+".reply.id", b.Reply.ID, 256); bad != nil {
			return bad
		}
		if bad := lengthError(at+".reply.title", b.Reply.Title, 20); bad != nil {
			return bad
		}
		if titles[b.Reply.Title] || ids[b.Reply.ID] {
			return newAPIError(131009, "interactive.action.buttons must have titles and ids of their own")
		}
		titles[b.Reply.Title], ids[b.Reply.ID] = true, true
	}
	return nil
}

func (m *interactive) checkList() *apiError {
	if bad := lengthError("action.button", m.Action.Button, 20); bad != nil {
		return bad
	}
	if n := len(m.Action.Sections); n == 0 || n > 10 {
		return newAPIError(131009, "interactive.action.sections must hold 1 to 10 sections")
	}
	rows, ids := 0, map[string]bool{}
	for i, s := range m.Action.Sections {
		if tooLong(s.Title, 24) || (s.Title == "" && len(m.Action.Sections) > 1) {
			return limitError(fmt.Sprintf("action.sections[%d].title", i), 24)
		}
		for j, r := range s.Rows {
			at := fmt.Sprintf("action.sections[%d].rows[%d]", i, j)
			if bad := lengthError(at+".id", r.ID, 200); bad != nil {
				return bad
			}
			if bad := lengthError(at+".title", r.Title, 24); bad != nil {
				return bad
			}
			if tooLong(r.Description, 72) {
				return limitError(at+".description", 72)
			}
			if ids[r.ID] {
				return newAPIError(131009, "interactive."+at+".id is there twice")
			}
			ids[r.ID] = true
			rows++
		}
	}
	if rows == 0 || rows > 10 {
		return newAPIError(131009, "interactive.action.sections must hold 1 to 10 rows in all")
	}
	return nil
}

func (m *interactive) checkLabel(name, param string, limit int) *apiError {
	if m.Action.Name != name {
		return newAPIError(131009, "interactive.action.name must be "+name)
	}
	return lengthError("action.parameters."+param, text(m.Action.Parameters[param]), limit)
}
