package codec

import (
	"errors"
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// doc is an indexed JSON text. Values are named by their place in nodes; 0 is
// the root and stands for "none" where a child is asked for.
type doc struct {
	input []byte
	nodes []node
}

var errNotObject = errors.New("not a JSON object")

// indexObject is index for texts that must be objects.
func indexObject(text []byte, limit int, nodes []node) (doc, error) {
	d, err := index(text, limit, nodes)
	if err == nil && d.nodes[0].kind != kindObject {
		err = errNotObject
	}
	return d, err
}

// first is the first child of n, 0 where there is none.
func (d *doc) first(n int) int {
	// In preorder the node after n is its child if it starts inside n.
	if n+1 < len(d.nodes) && d.nodes[n+1].start < d.nodes[n].end {
		return n + 1
	}
	return 0
}

// next is the sibling after n, 0 where there is none.
func (d *doc) next(n int) int { return int(d.nodes[n].next) }

// get is the member of object n by name, 0 where there is none. Of duplicates
// the last counts, as in encoding/json.
func (d *doc) get(n int, name string) int {
	found := 0
	if d.nodes[n].kind == kindObject {
		for c := d.first(n); c != 0; c = d.next(c) {
			if d.named(c, name) {
				found = c
			}
		}
	}
	return found
}

// child is get for members of another member: 0 where n itself is 0.
func (d *doc) child(n int, name string) int {
	if n == 0 {
		return 0
	}
	return d.get(n, name)
}

// named reports whether member c is called name.
func (d *doc) named(c int, name string) bool { return string(d.nameBytes(c)) == name }

// name is the name of member c.
func (d *doc) name(c int) string { return string(d.nameBytes(c)) }

// nameBytes is name without a copy, for switches.
func (d *doc) nameBytes(c int) []byte {
	n := &d.nodes[c]
	s := d.input[n.key:n.keyEnd]
	if n.keyEscaped {
		return appendUnescaped(nil, s)
	}
	return s
}

func (d *doc) kind(n int) kind { return d.nodes[n].kind }

// raw is the text of n.
func (d *doc) raw(n int) []byte { return d.nodes[n].of(d.input) }

// of is the node's value in text. What leaves a function that keeps its nodes on
// the stack is cut by it from the text that came in: cut from the doc, it would
// take the nodes along to the heap.
func (n node) of(text []byte) []byte { return text[n.start:n.end:n.end] }

// orNil is of for a member: nil where it is null or not there.
func (n node) orNil(text []byte) []byte {
	if n.keyEnd == 0 || n.kind == kindNull { // only the root has no place for a name
		return nil
	}
	return n.of(text)
}

// inner is the text of string n between its quotes, nil for all else.
func (d *doc) inner(n int) []byte {
	if d.kind(n) != kindString {
		return nil
	}
	return d.input[d.nodes[n].start+1 : d.nodes[n].end-1]
}

// str is the string n, "" for all else. Invalid UTF-8 becomes U+FFFD, as in
// encoding/json.
func (d *doc) str(n int) string {
	s := d.inner(n)
	if d.nodes[n].escaped || !utf8.Valid(s) {
		return string(appendUnescaped(nil, s))
	}
	return string(s)
}

// is reports whether n is the string s.
func (d *doc) is(n int, s string) bool {
	if d.kind(n) != kindString {
		return false
	}
	if d.nodes[n].escaped {
		return d.str(n) == s
	}
	return string(d.inner(n)) == s
}

// word is the string n, or a number or boolean as it is written.
func (d *doc) word(n int) string {
	switch d.kind(n) {
	case kindString:
		return d.str(n)
	case kindNumber, kindBool:
		return string(d.raw(n))
	default:
		return ""
	}
}

// length counts the code points of string n.
func (d *doc) length(n int) int {
	if d.nodes[n].escaped {
		return utf8.RuneCount(appendUnescaped(nil, d.inner(n)))
	}
	return utf8.RuneCount(d.inner(n))
}

// integer is n as an integer, written as a number or as a string of digits.
func (d *doc) integer(n int) (int64, bool) {
	var s []byte
	switch d.kind(n) {
	case kindNumber:
		s = d.raw(n)
	case kindString:
		s = d.inner(n)
	default:
		return 0, false
	}
	v, err := strconv.ParseInt(string(s), 10, 64)
	return v, err == nil
}

// number is integer where it fits an int.
func (d *doc) number(n int) (int, bool) {
	v, ok := d.integer(n)
	return int(v), ok && int64(int(v)) == v
}

// float is n as a number, written as a number or as a string.
func (d *doc) float(n int) (float64, bool) {
	var s []byte
	switch d.kind(n) {
	case kindNumber:
		s = d.raw(n)
	case kindString:
		s = d.inner(n)
	default:
		return 0, false
	}
	v, err := strconv.ParseFloat(string(s), 64)
	return v, err == nil && v-v == 0 // neither infinite nor NaN
}

// moment is n as a time: unix seconds or milliseconds, string or number. Zero
// for all else.
func (d *doc) moment(n int) time.Time {
	const (
		milliseconds = 100_000_000_000 // seconds reach it in the year 5138
		latest       = 253_402_300_799 // the end of the year 9999, in seconds
	)
	v, ok := d.integer(n)
	switch {
	case !ok || v <= 0 || v > latest*1000:
		return time.Time{}
	case v >= milliseconds:
		return time.UnixMilli(v).UTC()
	default:
		return time.Unix(v, 0).UTC()
	}
}

// size counts the children of n.
func (d *doc) size(n int) int {
	count := 0
	for c := d.first(n); c != 0; c = d.next(c) {
		count++
	}
	return count
}

// pack fills out with the strings of values, all of them in one allocation.
func (d *doc) pack(out []string, values ...int) {
	total := 0
	for _, n := range values {
		total += len(d.inner(n))
	}
	var b strings.Builder
	b.Grow(total)
	for i, n := range values {
		from := b.Len()
		if s := d.inner(n); d.nodes[n].escaped || !utf8.Valid(s) {
			out[i] = d.str(n)
		} else {
			b.Write(s)
			out[i] = b.String()[from:]
		}
	}
}

// appendUnescaped appends the meaning of s, the inside of a valid JSON string.
func appendUnescaped(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\\' && s[i+1] == 'u':
			r := hexRune(s[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if i+6 <= len(s) && s[i] == '\\' && s[i+1] == 'u' {
					pair = utf16.DecodeRune(r, hexRune(s[i+2:]))
				}
				if r = pair; r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		case c == '\\':
			dst = append(dst, unescape(s[i+1]))
			i += 2
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, size := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst
}

func hexRune(s []byte) rune {
	return hexValue(s[0])<<12 | hexValue(s[1])<<8 | hexValue(s[2])<<4 | hexValue(s[3])
}

func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // a quote or a slash
}

// elements yields the objects of array n with their places; nothing where n is
// no array.
func (d *doc) elements(n int) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		if n == 0 || d.kind(n) != kindArray {
			return
		}
		i := 0
		for c := d.first(n); c != 0; c = d.next(c) {
			if d.kind(c) == kindObject && !yield(i, c) {
				return
			}
			i++
		}
	}
}
