package codec

import "strconv"

// Limits of the message types, in characters (code points) or elements, as the
// Cloud API documents them.
const (
	maxTextBody     = 4096
	maxCaption      = 1024
	maxContacts     = 257
	maxCallbackData = 512
)

// content checks the content object n of a command of type name.
func (d *doc) content(name string, n int) *InvalidError {
	switch name {
	case "contacts":
		return d.contacts(n)
	case "text":
		if d.kind(n) == kindString {
			return d.shortText(n)
		}
	}
	if d.kind(n) != kindObject {
		return invalid("", "must be an object")
	}
	switch name {
	case "text":
		if err := d.text(n, "body", maxTextBody); err != nil {
			return err
		}
		return d.flag(n, "preview_url")
	case "location":
		return d.location(n)
	case "reaction":
		return d.reaction(n)
	case "interactive":
		return d.interactive(n)
	case "template":
		return d.template(n)
	default:
		return d.media(name, n)
	}
}

// shortText checks "text": "hi", short for {"body": "hi"}.
func (d *doc) shortText(n int) *InvalidError {
	if len(d.inner(n)) == 0 {
		return invalid("", "must not be empty")
	}
	return d.atMost(n, "", maxTextBody)
}

func (d *doc) location(n int) *InvalidError {
	if err := d.degrees(n, "latitude", 90); err != nil {
		return err
	}
	if err := d.degrees(n, "longitude", 180); err != nil {
		return err
	}
	if err := d.maybeText(n, "name", 0); err != nil {
		return err
	}
	return d.maybeText(n, "address", 0)
}

// degrees checks a coordinate: a number, or a string that holds one.
func (d *doc) degrees(n int, name string, most float64) *InvalidError {
	c := d.get(n, name)
	if c == 0 {
		return invalid(name, "is missing")
	}
	if v, ok := d.float(c); !ok || v < -most || v > most {
		limit := strconv.Itoa(int(most))
		return invalid(name, "must be a number from -"+limit+" to "+limit)
	}
	return nil
}

// reaction checks a reaction; an empty emoji takes one back.
func (d *doc) reaction(n int) *InvalidError {
	if err := d.text(n, "message_id", 0); err != nil {
		return err
	}
	_, err := d.required(n, "emoji", kindString)
	return err
}

// contacts checks the array of cards.
func (d *doc) contacts(n int) *InvalidError {
	if d.kind(n) != kindArray {
		return invalid("", "must be an array")
	}
	switch has := d.size(n); {
	case has == 0:
		return invalid("", "must not be empty")
	case has > maxContacts:
		return tooLong("", maxContacts, "contacts", has)
	}
	return d.each(n, d.contact)
}

func (d *doc) contact(n int) *InvalidError {
	name, err := d.required(n, "name", kindObject)
	if err != nil {
		return err
	}
	if err := d.text(name, "formatted_name", 0); err != nil {
		return within("name", err)
	}
	for _, part := range [...]string{"first_name", "last_name", "middle_name", "prefix", "suffix"} {
		if err := d.maybeText(name, part, 0); err != nil {
			return within("name", err)
		}
	}
	for _, list := range [...]string{"phones", "emails", "addresses", "urls"} {
		if err := d.maybeObjects(n, list); err != nil {
			return err
		}
	}
	if _, err := d.optional(n, "org", kindObject); err != nil {
		return err
	}
	return d.birthday(n)
}

func (d *doc) birthday(n int) *InvalidError {
	c, err := d.optional(n, "birthday", kindString)
	if c == 0 || err != nil {
		return err
	}
	if !isDate(d.str(c)) {
		return invalid("birthday", "must be a date, YYYY-MM-DD")
	}
	return nil
}
