package codec

// Limits of interactive messages, in characters (code points) or elements.
const (
	maxBody       = 1024
	maxListBody   = 4096
	maxFooter     = 60
	maxHeaderText = 60
	maxLabel      = 20 // of a button
	maxFlowLabel  = 30
	maxButtons    = 3
	maxButtonID   = 256
	maxSections   = 10
	maxSection    = 24 // its title
	maxRows       = 10 // in all sections together
	maxRowID      = 200
	maxRowTitle   = 24
	maxRowText    = 72
	maxProducts   = 30 // in all sections together
	maxCallTTL    = 43200
	maxCards      = 10
	maxCardBody   = 160
)

// interactive checks an interactive object: what is common to all kinds here,
// its action in action.go.
func (d *doc) interactive(n int) *InvalidError {
	if err := d.oneOf(n, "type", "button", "list", "cta_url", "flow", "product", "product_list",
		"catalog_message", "location_request_message", "address_message", "contact_request", "voice_call",
		"call_permission_request", "carousel", "order_details", "order_status"); err != nil {
		return err
	}
	name := d.str(d.get(n, "type"))
	if err := d.header(n, name); err != nil {
		return err
	}
	if err := d.bodyText(n, name); err != nil {
		return err
	}
	footer, err := d.optional(n, "footer", kindObject)
	if err != nil {
		return err
	}
	if footer != 0 {
		if err := d.text(footer, "text", maxFooter); err != nil {
			return within("footer", err)
		}
	}
	action, err := d.required(n, "action", kindObject)
	if err != nil {
		return err
	}
	return within("action", d.action(name, action))
}

// header checks the header of n, an interactive object of kind name.
func (d *doc) header(n int, name string) *InvalidError {
	need := name == "product_list"
	header, err := d.optional(n, "header", kindObject)
	if err != nil {
		return err
	}
	if header == 0 {
		if need {
			return invalid("header", "is missing")
		}
		return nil
	}
	if name == "list" || need {
		if err := d.oneOf(header, "type", "text"); err != nil {
			return within("header", err)
		}
	}
	return within("header", d.headerContent(header))
}

func (d *doc) headerContent(n int) *InvalidError {
	if err := d.oneOf(n, "type", "text", "image", "video", "document"); err != nil {
		return err
	}
	name := d.str(d.get(n, "type"))
	if name == "text" {
		return d.text(n, "text", maxHeaderText)
	}
	return d.mediaMember(n, name)
}

// bodyText checks the body, which only single products and requests for call
// permission can be without.
func (d *doc) bodyText(n int, name string) *InvalidError {
	most := maxBody
	if name == "list" {
		most = maxListBody
	}
	body, err := d.optional(n, "body", kindObject)
	if err != nil {
		return err
	}
	if body == 0 {
		if name == "product" || name == "call_permission_request" {
			return nil
		}
		return invalid("body", "is missing")
	}
	return within("body", d.text(body, "text", most))
}
