package codec

import (
	"errors"
	"fmt"
)

// FieldEvent is the data of whatsapp.event.<field>: {"field","value"}.
type FieldEvent struct {
	Field string
	Value []byte // raw JSON, nil for none; of a parsed event it aliases the data
}

// ParseFieldEvent reads it. It needs a field; the value can be anything.
func ParseFieldEvent(data []byte) (FieldEvent, error) {
	var buf [16]node
	d, err := indexObject(data, 1, buf[:0])
	if err != nil {
		return FieldEvent{}, fmt.Errorf("reading event data: %w", err)
	}
	e := FieldEvent{Field: d.str(d.get(0, "field"))}
	if e.Field == "" {
		return FieldEvent{}, errors.New("event data without a field")
	}
	if value := d.get(0, "value"); value != 0 {
		e.Value = d.nodes[value].of(data)
	}
	return e, nil
}

// AppendFieldEvent appends {"field":…,"value":…}, the value byte for byte; a nil
// value is left out.
func AppendFieldEvent(dst []byte, field string, value []byte) []byte {
	dst = appendString(append(dst, `{"field":`...), field)
	return append(appendRaw(dst, "value", value), '}')
}
