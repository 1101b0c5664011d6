package codec

import (
	"slices"
	"strconv"
)

// MediaRef is a media object of a command that names an object of wa_media or a
// link, in place of the platform's own media id.
type MediaRef struct {
	Path   string // where it stands: "image", "template.components[0].parameters[0].image"
	Kind   string // image, audio, video, document, sticker
	Object string // name in wa_media, or ""
	Link   string // or ""
	// Start and End are the offsets in Command.Body of the member "object":"…" or
	// "link":"…", without the commas around it. They hold in what AppendBody
	// appends to an empty slice, too.
	Start, End int
}

// FindMedia lists every media object of a command's body (Command.Body, or what
// AppendBody made of it) that names an object or a link, in the order of the
// body. A carousel or a template can have several.
func FindMedia(body []byte) []MediaRef {
	var buf [48]node
	d, err := indexObject(body, commandDepth, buf[:0])
	if err != nil {
		return nil
	}
	return d.mediaRefs()
}

// ReplaceMedia returns a copy of body in which each of refs names the platform's
// own id: "object":"…" or "link":"…" becomes "id":"…", every other byte stays.
// refs are those of FindMedia(body), in their order; one whose id is "" stays as
// it is, as do those without an id.
func ReplaceMedia(body []byte, refs []MediaRef, ids []string) []byte {
	out := make([]byte, 0, len(body)+64*len(ids))
	from := 0
	for i := range min(len(refs), len(ids)) {
		if ids[i] == "" {
			continue
		}
		out = append(out, body[from:refs[i].Start]...)
		out = appendString(append(out, `"id":`...), ids[i])
		from = refs[i].End
	}
	return append(out, body[from:]...)
}

// isMedia reports whether a type or parameter is a media object.
func isMedia(name string) bool {
	switch name {
	case "image", "audio", "video", "document", "sticker":
		return true
	}
	return false
}

// media checks media object n of kind name.
func (d *doc) media(name string, n int) *InvalidError {
	given := 0
	for _, source := range [...]string{"id", "link", "object"} {
		if d.get(n, source) == 0 {
			continue
		}
		given++
		check := d.text(n, source, 0)
		if source == "link" {
			check = d.url(n, source)
		}
		if check != nil {
			return check
		}
	}
	if given != 1 {
		return invalid("", "needs exactly one of id, link and object, has "+strconv.Itoa(given))
	}
	if name == "audio" || name == "sticker" {
		if d.get(n, "caption") != 0 {
			return invalid("caption", "is not possible with this type: leave it out")
		}
		return d.flag(n, "voice")
	}
	if err := d.maybeText(n, "filename", 0); err != nil {
		return err
	}
	return d.maybeText(n, "caption", maxCaption)
}

// mediaMember checks the media object that n holds under name.
func (d *doc) mediaMember(n int, name string) *InvalidError {
	c, err := d.required(n, name, kindObject)
	if err != nil {
		return err
	}
	return within(name, d.media(name, c))
}

// mediaRefs finds the media objects at every place where the Cloud API has them,
// which are those that were checked.
func (d *doc) mediaRefs() []MediaRef {
	var refs []MediaRef
	for c := d.first(0); c != 0; c = d.next(c) {
		switch name := contentType(d.name(c)); {
		case isMedia(name):
			refs = d.appendRef(refs, name, name, c)
		case name == "interactive":
			refs = d.memberRefs(refs, "interactive.header", d.get(c, "header"))
			if d.is(d.get(c, "type"), "carousel") {
				refs = d.cardRefs(refs, d.child(d.get(c, "action"), "cards"))
			}
		case name == "template":
			refs = d.componentRefs(refs, "template", d.get(c, "components"))
		}
	}
	slices.SortFunc(refs, func(a, b MediaRef) int { return a.Start - b.Start })
	return refs
}

// cardRefs finds the headers of the cards of an interactive carousel.
func (d *doc) cardRefs(refs []MediaRef, cards int) []MediaRef {
	for i, card := range d.elements(cards) {
		path := "interactive.action.cards[" + strconv.Itoa(i) + "].header"
		refs = d.memberRefs(refs, path, d.get(card, "header"))
	}
	return refs
}

// componentRefs finds the parameters of the components of a template or of one of
// its cards.
func (d *doc) componentRefs(refs []MediaRef, path string, components int) []MediaRef {
	for i, component := range d.elements(components) {
		path := path + ".components[" + strconv.Itoa(i) + "]"
		for j, parameter := range d.elements(d.get(component, "parameters")) {
			refs = d.memberRefs(refs, path+".parameters["+strconv.Itoa(j)+"]", parameter)
		}
		for j, card := range d.elements(d.get(component, "cards")) {
			refs = d.componentRefs(refs, path+".cards["+strconv.Itoa(j)+"]", d.get(card, "components"))
		}
	}
	return refs
}

// memberRefs finds the media object that n, a header or parameter, holds under
// the name of its type.
func (d *doc) memberRefs(refs []MediaRef, path string, n int) []MediaRef {
	if n == 0 {
		return refs
	}
	name := d.str(d.get(n, "type"))
	if c := d.get(n, name); c != 0 && (name == "image" || name == "video" || name == "document") {
		return d.appendRef(refs, path+"."+name, name, c)
	}
	return refs
}

func (d *doc) appendRef(refs []MediaRef, path, kind string, n int) []MediaRef {
	object, link := d.get(n, "object"), d.get(n, "link")
	c := max(object, link)
	if c == 0 {
		return refs
	}
	ref := MediaRef{Path: path, Kind: kind, Start: int(d.nodes[c].key) - 1, End: int(d.nodes[c].end)}
	if object != 0 {
		ref.Object = d.str(object)
	} else {
		ref.Link = d.str(link)
	}
	return append(refs, ref)
}
