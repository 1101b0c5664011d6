package codec

import (
	"slices"
	"strconv"
)

// action checks action n of an interactive message of kind name.
func (d *doc) action(name string, n int) *InvalidError {
	switch name {
	case "button":
		return d.buttons(n)
	case "list":
		return d.listAction(n)
	case "product":
		if err := d.text(n, "catalog_id", 0); err != nil {
			return err
		}
		return d.text(n, "product_retailer_id", 0)
	case "product_list":
		return d.productList(n)
	case "carousel":
		return d.carousel(n)
	default:
		return d.namedAction(name, n)
	}
}

func (d *doc) buttons(n int) *InvalidError {
	list, err := d.list(n, "buttons", maxButtons)
	if err != nil {
		return err
	}
	titles := make([]string, 0, maxButtons)
	return within("buttons", d.each(list, func(button int) *InvalidError {
		if err := d.oneOf(button, "type", "reply"); err != nil {
			return err
		}
		if err := d.reply(button, "reply"); err != nil {
			return err
		}
		title := d.str(d.get(d.get(button, "reply"), "title"))
		if slices.Contains(titles, title) {
			return invalid("reply.title", "must differ from those of the other buttons")
		}
		titles = append(titles, title)
		return nil
	}))
}

// reply checks the id and title of a button, under name.
func (d *doc) reply(button int, name string) *InvalidError {
	reply, err := d.required(button, name, kindObject)
	if err != nil {
		return err
	}
	if err := d.text(reply, "id", maxButtonID); err != nil {
		return within(name, err)
	}
	return within(name, d.text(reply, "title", maxLabel))
}

func (d *doc) listAction(n int) *InvalidError {
	if err := d.text(n, "button", maxLabel); err != nil {
		return err
	}
	return d.sections(n, "rows", maxRows, d.row)
}

func (d *doc) row(n int) *InvalidError {
	if err := d.text(n, "id", maxRowID); err != nil {
		return err
	}
	if err := d.text(n, "title", maxRowTitle); err != nil {
		return err
	}
	return d.maybeText(n, "description", maxRowText)
}

func (d *doc) productList(n int) *InvalidError {
	if err := d.text(n, "catalog_id", 0); err != nil {
		return err
	}
	return d.sections(n, "product_items", maxProducts, func(item int) *InvalidError {
		return d.text(item, "product_retailer_id", 0)
	})
}

// sections checks the sections of n: their titles, needed where there are
// several, and what they hold under name, most in all of them together.
func (d *doc) sections(n int, name string, most int, check func(int) *InvalidError) *InvalidError {
	list, err := d.list(n, "sections", maxSections)
	if err != nil {
		return err
	}
	several, total := d.next(d.first(list)) != 0, 0
	err = within("sections", d.each(list, func(section int) *InvalidError {
		title := d.maybeText
		if several {
			title = d.text
		}
		if err := title(section, "title", maxSection); err != nil {
			return err
		}
		items, err := d.list(section, name, 0)
		if err != nil {
			return err
		}
		total += d.size(items)
		return within(name, d.each(items, check))
	}))
	if err == nil && total > most {
		err = tooLong("sections", most, name+" in all sections together", total)
	}
	return err
}

func (d *doc) carousel(n int) *InvalidError {
	cards, err := d.list(n, "cards", maxCards)
	if err != nil {
		return err
	}
	return within("cards", d.each(cards, d.card))
}

func (d *doc) card(n int) *InvalidError {
	if err := d.maybeCount(n, "card_index", 0, maxCards-1); err != nil {
		return err
	}
	if header, err := d.optional(n, "header", kindObject); err != nil {
		return err
	} else if header != 0 {
		if err := d.headerContent(header); err != nil {
			return within("header", err)
		}
	}
	if body, err := d.optional(n, "body", kindObject); err != nil {
		return err
	} else if body != 0 {
		if err := d.text(body, "text", maxCardBody); err != nil {
			return within("body", err)
		}
	}
	action, err := d.optional(n, "action", kindObject)
	if action == 0 || err != nil {
		return err
	}
	return within("action", d.cardAction(action))
}

// cardAction checks a card's link or quick replies. Cards of products have
// neither.
func (d *doc) cardAction(n int) *InvalidError {
	if d.is(d.get(n, "name"), "cta_url") {
		return d.namedAction("cta_url", n)
	}
	buttons, err := d.optional(n, "buttons", kindArray)
	if buttons == 0 || err != nil {
		return err
	}
	return within("buttons", d.each(buttons, func(button int) *InvalidError {
		if err := d.oneOf(button, "type", "quick_reply"); err != nil {
			return err
		}
		return d.reply(button, "quick_reply")
	}))
}

// namedAction checks the actions that are a name with parameters.
func (d *doc) namedAction(name string, n int) *InvalidError {
	if err := d.oneOf(n, "name", actionNames(name)...); err != nil {
		return err
	}
	parameters, err := d.optional(n, "parameters", kindObject)
	if err != nil {
		return err
	}
	if parameters == 0 {
		switch name {
		case "cta_url", "flow", "address_message", "order_details", "order_status":
			return invalid("parameters", "is missing")
		}
		return nil
	}
	return within("parameters", d.parameters(name, parameters))
}

// actionNames lists what the action of a kind can be called.
func actionNames(name string) []string {
	switch name {
	case "location_request_message":
		return []string{"send_location"}
	case "contact_request":
		return []string{"request_contact_info"}
	case "order_details":
		return []string{"review_and_pay"}
	case "order_status":
		return []string{"review_order", "review_and_pay"}
	default:
		return []string{name}
	}
}

func (d *doc) parameters(name string, n int) *InvalidError {
	switch name {
	case "cta_url":
		if err := d.text(n, "display_text", maxLabel); err != nil {
			return err
		}
		return d.url(n, "url")
	case "flow":
		return d.flow(n)
	case "catalog_message":
		return d.maybeText(n, "thumbnail_product_retailer_id", 0)
	case "address_message":
		return d.text(n, "country", 0)
	case "voice_call", "call_permission_request":
		if err := d.maybeText(n, "display_text", maxLabel); err != nil {
			return err
		}
		return d.maybeCount(n, "ttl_minutes", 1, maxCallTTL)
	}
	return nil
}

func (d *doc) flow(n int) *InvalidError {
	if err := d.oneOf(n, "flow_message_version", "3"); err != nil {
		return err
	}
	if err := d.text(n, "flow_cta", maxFlowLabel); err != nil {
		return err
	}
	id, name := d.get(n, "flow_id"), d.get(n, "flow_name")
	switch {
	case id != 0 && name != 0, id == 0 && name == 0:
		return invalid("", "needs exactly one of flow_id and flow_name")
	case id != 0:
		if err := d.text(n, "flow_id", 0); err != nil {
			return err
		}
	default:
		if err := d.text(n, "flow_name", 0); err != nil {
			return err
		}
	}
	if err := d.maybeText(n, "flow_token", 0); err != nil {
		return err
	}
	if err := d.maybeOneOf(n, "flow_action", "navigate", "data_exchange"); err != nil {
		return err
	}
	if err := d.maybeOneOf(n, "mode", "draft", "published"); err != nil {
		return err
	}
	_, err := d.optional(n, "flow_action_payload", kindObject)
	return err
}

// maybeCount checks an integer from least to most where it is there.
func (d *doc) maybeCount(n int, name string, least, most int64) *InvalidError {
	c := d.get(n, name)
	if c == 0 {
		return nil
	}
	if v, ok := d.integer(c); !ok || v < least || v > most {
		return invalid(name, "must be an integer from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
	}
	return nil
}
