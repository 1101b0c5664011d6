package codec

import (
	"bytes"
	"strings"
)

// Checks of one member each. They read the member by name, so that an error's
// path starts with it, and compose by within and at.

// required is member name of n, of kind k.
func (d *doc) required(n int, name string, k kind) (int, *InvalidError) {
	c := d.get(n, name)
	if c == 0 {
		return 0, invalid(name, "is missing")
	}
	return c, d.expect(c, name, k)
}

// optional is member name of n, of kind k, 0 where there is none.
func (d *doc) optional(n int, name string, k kind) (int, *InvalidError) {
	c := d.get(n, name)
	if c == 0 {
		return 0, nil
	}
	return c, d.expect(c, name, k)
}

func (d *doc) expect(c int, name string, k kind) *InvalidError {
	if d.kind(c) == k {
		return nil
	}
	switch k {
	case kindString:
		return invalid(name, "must be a string")
	case kindBool:
		return invalid(name, "must be true or false")
	case kindArray:
		return invalid(name, "must be an array")
	case kindObject:
		return invalid(name, "must be an object")
	default:
		return invalid(name, "is of the wrong kind")
	}
}

// text checks a string of 1 to most characters (code points) that must be
// there; most 0 is without bound.
func (d *doc) text(n int, name string, most int) *InvalidError {
	c, err := d.required(n, name, kindString)
	if err != nil {
		return err
	}
	if len(d.inner(c)) == 0 {
		return invalid(name, "must not be empty")
	}
	return d.atMost(c, name, most)
}

// maybeText checks a string of up to most characters where it is there.
func (d *doc) maybeText(n int, name string, most int) *InvalidError {
	c, err := d.optional(n, name, kindString)
	if c == 0 || err != nil {
		return err
	}
	return d.atMost(c, name, most)
}

func (d *doc) atMost(c int, name string, most int) *InvalidError {
	// No string has more characters than bytes.
	if most == 0 || len(d.inner(c)) <= most {
		return nil
	}
	if has := d.length(c); has > most {
		return tooLong(name, most, "characters", has)
	}
	return nil
}

// flag checks true or false where it is there.
func (d *doc) flag(n int, name string) *InvalidError {
	_, err := d.optional(n, name, kindBool)
	return err
}

// oneOf checks a string that must be there and be one of words.
func (d *doc) oneOf(n int, name string, words ...string) *InvalidError {
	c, err := d.required(n, name, kindString)
	if err != nil {
		return err
	}
	for _, w := range words {
		if d.is(c, w) {
			return nil
		}
	}
	if len(words) == 1 {
		return invalid(name, "must be "+words[0])
	}
	return invalid(name, "must be one of "+strings.Join(words, ", "))
}

// maybeOneOf is oneOf where the member is there.
func (d *doc) maybeOneOf(n int, name string, words ...string) *InvalidError {
	if d.get(n, name) == 0 {
		return nil
	}
	return d.oneOf(n, name, words...)
}

// list is an array of 1 to most elements that must be there; most 0 is without
// bound.
func (d *doc) list(n int, name string, most int) (int, *InvalidError) {
	c, err := d.required(n, name, kindArray)
	if err != nil {
		return 0, err
	}
	switch has := d.size(c); {
	case has == 0:
		return 0, invalid(name, "must not be empty")
	case most > 0 && has > most:
		return 0, tooLong(name, most, "elements", has)
	}
	return c, nil
}

// maybeObjects checks an array of objects where it is there.
func (d *doc) maybeObjects(n int, name string) *InvalidError {
	c, err := d.optional(n, name, kindArray)
	if c == 0 || err != nil {
		return err
	}
	return within(name, d.each(c, func(int) *InvalidError { return nil }))
}

// each checks every element of array n, all of which must be objects.
func (d *doc) each(n int, check func(element int) *InvalidError) *InvalidError {
	i := 0
	for c := d.first(n); c != 0; c = d.next(c) {
		if d.kind(c) != kindObject {
			return at(i, invalid("", "must be an object"))
		}
		if err := check(c); err != nil {
			return at(i, err)
		}
		i++
	}
	return nil
}

// url checks an http or https address that must be there.
func (d *doc) url(n int, name string) *InvalidError {
	if err := d.text(n, name, 0); err != nil {
		return err
	}
	u := strings.ToLower(d.str(d.get(n, name)))
	if rest, ok := strings.CutPrefix(u, "https://"); ok && rest != "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(u, "http://"); ok && rest != "" {
		return nil
	}
	return invalid(name, "must be an http or https address")
}

// distinct finds an object that has a member twice and returns its offset, -1
// where there is none. Which of the two the platform would take is its own
// choice, so such a command cannot be vouched for.
func (d *doc) distinct() int {
	for n := range d.nodes {
		if d.kind(n) == kindObject && d.repeats(n) {
			return int(d.nodes[n].start)
		}
	}
	return -1
}

func (d *doc) repeats(n int) bool {
	const few = 16
	if d.size(n) > few {
		seen := make(map[string]struct{})
		for c := d.first(n); c != 0; c = d.next(c) {
			name := d.name(c)
			if _, ok := seen[name]; ok {
				return true
			}
			seen[name] = struct{}{}
		}
		return false
	}
	for a := d.first(n); a != 0; a = d.next(a) {
		for b := d.next(a); b != 0; b = d.next(b) {
			if bytes.Equal(d.nameBytes(a), d.nameBytes(b)) {
				return true
			}
		}
	}
	return false
}
