package codec

import "strings"

// maxTemplateName is the most characters of a template's name.
const maxTemplateName = 512

func (d *doc) template(n int) *InvalidError {
	if err := d.text(n, "name", maxTemplateName); err != nil {
		return err
	}
	language, err := d.required(n, "language", kindObject)
	if err != nil {
		return err
	}
	if err := d.text(language, "code", 0); err != nil {
		return within("language", err)
	}
	if err := d.maybeText(language, "policy", 0); err != nil {
		return within("language", err)
	}
	return d.components(n)
}

// components checks the components of a template or of one of its cards.
func (d *doc) components(n int) *InvalidError {
	list, err := d.optional(n, "components", kindArray)
	if list == 0 || err != nil {
		return err
	}
	return within("components", d.each(list, d.component))
}

func (d *doc) component(n int) *InvalidError {
	if err := d.text(n, "type", 0); err != nil {
		return err
	}
	if strings.EqualFold(d.str(d.get(n, "type")), "button") {
		if err := d.text(n, "sub_type", 0); err != nil {
			return err
		}
		index := d.get(n, "index")
		if index == 0 {
			return invalid("index", "is missing")
		}
		// Meta's own samples write it both ways.
		if v, ok := d.integer(index); !ok || v < 0 {
			return invalid("index", "must be a whole number, or a string that holds one")
		}
	}
	if cards, err := d.optional(n, "cards", kindArray); err != nil {
		return err
	} else if cards != 0 {
		if has := d.size(cards); has > maxCards {
			return tooLong("cards", maxCards, "elements", has)
		}
		if err := d.each(cards, d.templateCard); err != nil {
			return within("cards", err)
		}
	}
	parameters, err := d.optional(n, "parameters", kindArray)
	if parameters == 0 || err != nil {
		return err
	}
	return within("parameters", d.each(parameters, d.parameter))
}

func (d *doc) templateCard(n int) *InvalidError {
	if err := d.maybeCount(n, "card_index", 0, maxCards-1); err != nil {
		return err
	}
	return d.components(n)
}

// parameter checks one parameter of a component. Types that are not listed here
// pass as they are: Meta adds to them.
func (d *doc) parameter(n int) *InvalidError {
	if err := d.text(n, "type", 0); err != nil {
		return err
	}
	if err := d.maybeText(n, "parameter_name", 0); err != nil {
		return err
	}
	switch name := d.str(d.get(n, "type")); name {
	case "text", "payload", "coupon_code":
		return d.text(n, name, 0)
	case "image", "video", "document":
		return d.mediaMember(n, name)
	case "currency":
		return d.currency(n)
	case "date_time":
		moment, err := d.required(n, name, kindObject)
		if err != nil {
			return err
		}
		return within(name, d.text(moment, "fallback_value", 0))
	case "action":
		_, err := d.required(n, name, kindObject)
		return err
	}
	return nil
}

func (d *doc) currency(n int) *InvalidError {
	amount, err := d.required(n, "currency", kindObject)
	if err != nil {
		return err
	}
	if err := d.text(amount, "fallback_value", 0); err != nil {
		return within("currency", err)
	}
	if err := d.text(amount, "code", 0); err != nil {
		return within("currency", err)
	}
	value := d.get(amount, "amount_1000")
	if value == 0 {
		return invalid("currency.amount_1000", "is missing")
	}
	if _, ok := d.integer(value); !ok {
		return invalid("currency.amount_1000", "must be an integer")
	}
	return nil
}
