package bridge

import "strings"

// Carrier carries trace context in NATS headers. It writes the W3C's
// lower-case names and reads any letter case: OTel's own HeaderCarrier writes
// "Traceparent", which other readers of NATS headers do not find.
type Carrier map[string][]string

// Get returns the first value of key in any letter case.
func (c Carrier) Get(key string) string {
	if v := c[key]; len(v) > 0 {
		return v[0]
	}
	for k, v := range c {
		if len(v) > 0 && strings.EqualFold(k, key) {
			return v[0]
		}
	}
	return ""
}

// Set writes key in lower case, in place of every other spelling.
func (c Carrier) Set(key, value string) {
	lower := strings.ToLower(key)
	for k := range c {
		if k != lower && strings.EqualFold(k, key) {
			delete(c, k)
		}
	}
	c[lower] = []string{value}
}

// Keys lists the header names.
func (c Carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
