package codec

import "slices"

// edit replaces a span of a text.
type edit struct {
	start, end int
	text       string
}

// maxEdits is the most that normalise lists.
const maxEdits = 6

// normalise lists the edits that make a command the body that Graph takes: kind
// and to are filled in where they are not "" and not there already as they should
// be. They are appended to edits.
func (d *doc) normalise(edits []edit, o *commandObject, kind, to string) []edit {
	begin := int(d.nodes[0].start) + 1
	if o.product == 0 {
		edits = append(edits, edit{begin, begin, `"messaging_product":"whatsapp",`})
	}
	if o.kind == 0 && kind != "" {
		edits = append(edits, edit{begin, begin, `"type":"` + kind + `",`})
	}
	if to != "" {
		n := &d.nodes[o.to]
		edits = append(edits, edit{int(n.start), int(n.end), `"` + to + `"`})
	}
	if o.content != 0 && d.kind(o.content) == kindString {
		n := &d.nodes[o.content]
		edits = append(edits, edit{int(n.start), int(n.start), `{"body":`}, edit{int(n.end), int(n.end), `}`})
	}
	if o.callback != 0 {
		edits = append(edits, d.without(0, func(c int) bool { return c == o.callback })...)
	}
	return edits
}

// splice returns the value of n in text with edits applied, itself where there
// are none.
func splice(text []byte, n node, edits []edit) []byte {
	if len(edits) == 0 {
		return n.of(text)
	}
	// Stable: of two edits at one place the first comes first.
	slices.SortStableFunc(edits, func(a, b edit) int { return a.start - b.start })
	start, end := int(n.start), int(n.end)
	size := end - start
	for _, e := range edits {
		size += len(e.text) - (e.end - e.start)
	}
	out := make([]byte, 0, size)
	for _, e := range edits {
		out = append(append(out, text[start:e.start]...), e.text...)
		start = e.end
	}
	return append(out, text[start:end]...)
}

// without lists the edits that take members out of object n: those for which
// drop holds. Those that stay are parted by one comma as before.
func (d *doc) without(n int, drop func(c int) bool) []edit {
	var edits []edit
	prev := 0 // the member before, 0 while none stays
	for c := d.first(n); c != 0; c = d.next(c) {
		if !drop(c) {
			prev = c
			continue
		}
		m := &d.nodes[c]
		e := edit{start: int(m.key) - 1, end: int(m.end)}
		switch {
		case prev != 0:
			e.start = skipSpace(d.input, int(d.nodes[prev].end)) // the comma
			prev = c
		case m.next != 0:
			e.end = int(d.nodes[m.next].key) - 1
		}
		edits = append(edits, e)
	}
	return edits
}
