package codec

import "strings"

const (
	minDigits = 5
	maxDigits = 15 // E.164
	maxGroup  = 256
	maxUserID = 140
)

// address checks to, recipient and recipient_type, fills in the conversation and
// returns what "to" must be in the body, "" where it stays.
func (c *Command) address(d *doc, o *commandObject) (string, *InvalidError) {
	if o.recipientType != 0 && !d.is(o.recipientType, "individual") && !d.is(o.recipientType, "group") {
		return "", invalid("recipient_type", "must be individual or group")
	}
	if o.recipient != 0 {
		if c.Conversation = d.str(o.recipient); !isUserID(c.Conversation) {
			return "", invalid("recipient", "must be a business-scoped user id: country, dot, letters and digits")
		}
	}
	// Graph prefers "to" where both are given.
	switch {
	case o.to == 0 && o.recipient == 0:
		return "", invalid("to", "is missing: name a phone number or a group in to, or a user in recipient")
	case o.to == 0:
		return "", nil
	case d.kind(o.to) != kindString:
		return "", invalid("to", "must be a string")
	case o.recipientType != 0 && d.is(o.recipientType, "group"):
		if c.Conversation = d.str(o.to); !isGroupID(c.Conversation) {
			return "", invalid("to", "must be a group id: printable characters without spaces, at most 256")
		}
		return "", nil
	}
	digits, err := phoneDigits(d.str(o.to))
	if err != nil {
		return "", err
	}
	c.Conversation = digits
	if inner := d.inner(o.to); len(inner) == 1+len(digits) && inner[0] == '+' && string(inner[1:]) == digits {
		return "", nil
	}
	return "+" + digits, nil
}

// phoneDigits reads a number as people write it, with spaces, dashes and
// brackets, with or without its "+", and returns its digits.
func phoneDigits(s string) (string, *InvalidError) {
	if strings.ContainsAny(s, " -()") {
		s = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "").Replace(s)
	}
	digits := strings.TrimPrefix(s, "+")
	for i := range len(digits) {
		if !isDigit(digits[i]) {
			return "", invalid("to", "must be a phone number: digits after +, with spaces, dashes and brackets at most; "+
				"a group needs recipient_type group, a user id goes in recipient")
		}
	}
	if len(digits) < minDigits || len(digits) > maxDigits {
		return "", invalid("to", "must be a phone number of 5 to 15 digits")
	}
	if digits[0] == '0' {
		return "", invalid("to", "must begin with the country code, not with 0")
	}
	return digits, nil
}

// isUserID reports whether s can be a BSUID: two capitals, a dot, then letters,
// digits and dots.
func isUserID(s string) bool {
	if len(s) < 4 || len(s) > maxUserID || !isCapital(s[0]) || !isCapital(s[1]) || s[2] != '.' {
		return false
	}
	for i := 3; i < len(s); i++ {
		if c := s[i]; !isDigit(c) && !isCapital(c) && (c < 'a' || c > 'z') && c != '.' {
			return false
		}
	}
	return true
}

func isGroupID(s string) bool {
	if s == "" || len(s) > maxGroup {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func isCapital(c byte) bool { return c >= 'A' && c <= 'Z' }
