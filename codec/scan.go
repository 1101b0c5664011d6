package codec

import (
	"encoding/binary"
	"math/bits"
	"strconv"
)

// kind is the kind of a JSON value.
type kind uint8

const (
	kindNull kind = iota + 1
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// node is one value of an indexed text. Offsets are into the text.
type node struct {
	start, end  uint32 // of the value, quotes included
	key, keyEnd uint32 // of a member's name, without its quotes
	next        uint32 // next sibling's index, 0 for the last
	kind        kind
	escaped     bool // the value is a string with escapes
	keyEscaped  bool
}

const (
	// maxNesting is encoding/json's.
	maxNesting = 10000
	// maxText keeps offsets in 32 bits.
	maxText = 1<<31 - 1
)

// syntaxError is the offset at which a text stops to be JSON.
type syntaxError int

func (e syntaxError) Error() string { return "not JSON: wrong at byte " + strconv.Itoa(int(e)) }

// index validates text in one pass, as encoding/json does, and records its
// values down to depth limit (the root is at depth 0) in preorder into nodes,
// whose array is used while it lasts. Invalid UTF-8 inside strings is accepted.
func index(text []byte, limit int, nodes []node) (doc, error) {
	if len(text) > maxText {
		return doc{}, syntaxError(maxText)
	}
	end, nodes, ok := scanValue(text, skipSpace(text, 0), 0, limit, nodes)
	if ok {
		end = skipSpace(text, end)
		ok = end == len(text)
	}
	if !ok {
		return doc{}, syntaxError(end)
	}
	return doc{input: text, nodes: nodes}, nil
}

// scanValue reads the value at i and returns the offset behind it, or the
// offset of what is wrong.
//
// It hands nodes through instead of keeping them in a struct, and recurses only
// into itself: so the compiler sees that the caller's array can live on its stack.
func scanValue(text []byte, i, level, limit int, nodes []node) (int, []node, bool) {
	self, record, start := len(nodes), level <= limit, i
	if record {
		nodes = append(nodes, node{})
	}
	var n node
	ok := true
	if i < len(text) && (text[i] == '{' || text[i] == '[') {
		closing := text[i] + 2 // in ASCII "}" follows "{", and "]" "[", by two
		if n.kind = kindArray; closing == '}' {
			n.kind = kindObject
		}
		if level >= maxNesting {
			return i, nodes, false
		}
		i = skipSpace(text, i+1)
		done := i < len(text) && text[i] == closing
		if done {
			i++
		}
		for last := 0; !done; {
			var member node
			if closing == '}' {
				if member, i, ok = scanName(text, i); !ok {
					return i, nodes, false
				}
			}
			child := len(nodes)
			if i, nodes, ok = scanValue(text, i, level+1, limit, nodes); !ok {
				return i, nodes, false
			}
			if level < limit {
				c := &nodes[child]
				c.key, c.keyEnd, c.keyEscaped = member.key, member.keyEnd, member.keyEscaped
				if last != 0 {
					nodes[last].next = offset(child)
				}
				last = child
			}
			if i, done, ok = scanSeparator(text, i, closing); !ok {
				return i, nodes, false
			}
		}
	} else {
		n.kind, n.escaped, i, ok = scanScalar(text, i)
	}
	if record {
		n.start, n.end = offset(start), offset(i)
		nodes[self] = n
	}
	return i, nodes, ok
}

// scanName reads a member's name and its colon, up to the value.
func scanName(text []byte, i int) (n node, next int, ok bool) {
	end, escaped, ok := scanString(text, i)
	if !ok {
		return n, end, false
	}
	n = node{key: offset(i + 1), keyEnd: offset(end - 1), keyEscaped: escaped}
	if end = skipSpace(text, end); end >= len(text) || text[end] != ':' {
		return n, end, false
	}
	return n, skipSpace(text, end+1), true
}

// scanSeparator reads what follows a member or element: a comma, or the end.
func scanSeparator(text []byte, i int, closing byte) (next int, done, ok bool) {
	if i = skipSpace(text, i); i >= len(text) {
		return i, false, false
	}
	switch text[i] {
	case ',':
		return skipSpace(text, i+1), false, true
	case closing:
		return i + 1, true, true
	}
	return i, false, false
}

// scanScalar reads what is neither object nor array.
func scanScalar(text []byte, i int) (k kind, escaped bool, end int, ok bool) {
	if i >= len(text) {
		return 0, false, i, false
	}
	switch c := text[i]; {
	case c == '"':
		end, escaped, ok = scanString(text, i)
		return kindString, escaped, end, ok
	case c == '-' || isDigit(c):
		end, ok = scanNumber(text, i)
		return kindNumber, false, end, ok
	case c == 't':
		end, ok = scanLiteral(text, i, "true")
		return kindBool, false, end, ok
	case c == 'f':
		end, ok = scanLiteral(text, i, "false")
		return kindBool, false, end, ok
	case c == 'n':
		end, ok = scanLiteral(text, i, "null")
		return kindNull, false, end, ok
	}
	return 0, false, i, false
}

// scanString reads the string at i and says whether it holds escapes.
func scanString(text []byte, i int) (end int, escaped, ok bool) {
	if i >= len(text) || text[i] != '"' {
		return i, false, false
	}
	for i++; ; {
		i = skipPlain(text, i)
		if i >= len(text) {
			return i, escaped, false
		}
		switch text[i] {
		case '"':
			return i + 1, escaped, true
		case '\\':
			escaped = true
			if i, ok = scanEscape(text, i); !ok {
				return i, escaped, false
			}
		default: // a control character
			return i, escaped, false
		}
	}
}

func scanEscape(text []byte, i int) (int, bool) {
	if i+1 >= len(text) {
		return len(text), false
	}
	switch text[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, true
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(text) || hexValue(text[j]) < 0 {
				return j, false
			}
		}
		return i + 6, true
	}
	return i + 1, false
}

// skipPlain returns the offset, from i on, of the first quote, backslash or
// control character, eight bytes at a time.
func skipPlain(text []byte, i int) int {
	const (
		low   = 0x0101010101010101
		high  = 0x8080808080808080
		quote = low * '"'
		slash = low * '\\'
		space = low * ' '
	)
	for ; len(text)-i >= 8; i += 8 {
		v := binary.LittleEndian.Uint64(text[i:])
		q, s := v^quote, v^slash
		// Each term sets the high bit of a byte that is zero, or in the last one
		// below a space. A borrow can only set it wrongly above a right one.
		if m := ((q-low)&^q | (s-low)&^s | (v-space)&^v) & high; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(text) && text[i] != '"' && text[i] != '\\' && text[i] >= ' ' {
		i++
	}
	return i
}

func scanNumber(text []byte, i int) (int, bool) {
	if text[i] == '-' {
		i++
	}
	if i < len(text) && text[i] == '0' {
		i++
	} else {
		var ok bool
		if i, ok = scanDigits(text, i); !ok {
			return i, false
		}
	}
	if i < len(text) && text[i] == '.' {
		var ok bool
		if i, ok = scanDigits(text, i+1); !ok {
			return i, false
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		return scanDigits(text, i)
	}
	return i, true
}

// scanDigits reads one digit or more.
func scanDigits(text []byte, i int) (int, bool) {
	from := i
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	return i, i > from
}

func scanLiteral(text []byte, i int, word string) (int, bool) {
	if len(text)-i < len(word) || string(text[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

func skipSpace(text []byte, i int) int {
	for i < len(text) {
		switch text[i] {
		case ' ', '\t', '\r', '\n':
			i++
		default:
			return i
		}
	}
	return i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// hexValue is the value of a hexadecimal digit, else -1.
func hexValue(c byte) rune {
	switch {
	case isDigit(c):
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// offset narrows an offset that index has bounded by maxText.
func offset(i int) uint32 { return uint32(i) }
