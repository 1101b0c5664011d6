package codec

import (
	"encoding/base64"
	"strconv"
	"strings"
)

const (
	cloudEventsJSON  = "application/cloudevents+json"
	cloudEventsBatch = "application/cloudevents-batch+json"
	specVersion      = "1.0"
)

// unwrap takes a command out of its CloudEvent, where it came as one, and reads
// the event's id and the trace.
func (c *Command) unwrap(header map[string][]string, body []byte) ([]byte, error) {
	c.TraceParent = traceHeader(header, "traceparent")
	c.TraceState = traceHeader(header, "tracestate")
	switch mediaType(header) {
	case cloudEventsJSON:
		return c.unwrapEvent(body)
	case cloudEventsBatch:
		return nil, invalid("Content-Type", "must not be a batch: send each event as a message of its own")
	}
	if version := headerValue(header, "ce-specversion"); version != "" {
		if version != specVersion {
			return nil, invalid("ce-specversion", "must be "+specVersion)
		}
		for _, name := range [...]string{"ce-id", "ce-source", "ce-type"} {
			if headerValue(header, name) == "" {
				return nil, invalid(name, "is missing")
			}
		}
		c.EventID = decodePercent(headerValue(header, "ce-id"))
	}
	return body, nil
}

// mediaType is the Content-Type in lower case, without its parameters.
func mediaType(header map[string][]string) string {
	t, _, _ := strings.Cut(headerValue(header, "Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func traceHeader(header map[string][]string, name string) string {
	if v := headerValue(header, name); v != "" {
		return v
	}
	return decodePercent(headerValue(header, "ce-"+name))
}

// unwrapEvent reads an event in structured mode.
func (c *Command) unwrapEvent(body []byte) ([]byte, error) {
	var buf [24]node
	d, err := indexObject(body, 1, buf[:0])
	if err != nil {
		return nil, invalid("", "must be a CloudEvent in JSON: "+err.Error())
	}
	if i := d.distinct(); i >= 0 {
		return nil, twice(i)
	}
	if err := d.cloudEvent(); err != nil {
		return nil, err
	}
	c.EventID = d.str(d.get(0, "id"))
	if c.TraceParent == "" {
		c.TraceParent = d.str(d.get(0, "traceparent"))
		c.TraceState = d.str(d.get(0, "tracestate"))
	}
	data, encoded := d.get(0, "data"), d.get(0, "data_base64")
	switch {
	case data != 0 && encoded != 0:
		return nil, invalid("", "needs one of data and data_base64, has both")
	case data != 0:
		return d.nodes[data].of(body), nil
	case encoded == 0:
		return nil, invalid("data", "is missing")
	}
	text, err := base64.StdEncoding.DecodeString(d.str(encoded))
	if err != nil {
		return nil, invalid("data_base64", "must be base64")
	}
	return text, nil
}

// cloudEvent checks the attributes that every CloudEvent has.
func (d *doc) cloudEvent() error {
	if err := d.oneOf(0, "specversion", specVersion); err != nil {
		return err
	}
	for _, name := range [...]string{"id", "source", "type"} {
		if err := d.text(0, name, 0); err != nil {
			return err
		}
	}
	return nil
}

func twice(i int) *InvalidError {
	return invalid("", "has an object with the same member twice, at byte "+strconv.Itoa(i))
}
