package codec

import (
	"errors"
	"fmt"
)

// Ready is the data of whatsapp.session.ready, the first frame of a connection.
type Ready struct {
	Session string
	Epoch   string // names a numbering of events; another one starts from 1 again
	Scopes  []string
	Window  int // how many sends may be unanswered, at least 1

	PhoneNumberID, DisplayPhoneNumber string
}

// ParseReady reads the data of whatsapp.session.ready.
func ParseReady(data []byte) (Ready, error) {
	var buf [24]node
	d, err := indexObject(data, 2, buf[:0])
	if err != nil {
		return Ready{}, fmt.Errorf("reading session.ready: %w", err)
	}
	r := Ready{
		Session:            d.str(d.get(0, "session")),
		Epoch:              d.str(d.get(0, "epoch")),
		PhoneNumberID:      d.word(d.get(0, "phone_number_id")),
		DisplayPhoneNumber: d.word(d.get(0, "display_phone_number")),
	}
	r.Window, _ = d.number(d.get(0, "window"))
	if r.Session == "" || r.Epoch == "" || r.Window < 1 {
		return Ready{}, errors.New("session.ready needs session, epoch and a window of at least 1")
	}
	if scopes := d.get(0, "scopes"); scopes != 0 && d.kind(scopes) == kindArray {
		for n := d.first(scopes); n != 0; n = d.next(n) {
			if d.kind(n) != kindString {
				return Ready{}, errors.New("scopes of session.ready must be strings")
			}
			r.Scopes = append(r.Scopes, d.str(n))
		}
	} else if scopes != 0 {
		return Ready{}, errors.New("scopes of session.ready must be an array")
	}
	return r, nil
}
