package simulator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxFrame is the largest frame that either side may send.
const maxFrame = 960 << 10

// frame is one CloudEvent from the bridge. Data aliases what it was read from.
type frame struct {
	id, kind, traceparent string
	data                  []byte
}

// attribute is a set of CloudEvents attributes.
type attribute uint8

const (
	isVersion attribute = 1 << iota
	isID
	isSource
	isType
	isTime
	isContentType
	isTraceParent
	isData
)

// parseFrame reads a CloudEvent in JSON format and holds it to the CloudEvents
// specification and to the Chat API. The error names the rule that is broken.
func parseFrame(b []byte) (frame, error) {
	var f frame
	if !utf8.Valid(b) {
		return f, errors.New("frame is not valid UTF-8")
	}
	var version, source, when, contentType string
	var seen attribute
	err := walkObject(b, func(key, value []byte) error {
		to, bit := &version, isVersion
		switch string(key) {
		case "specversion":
		case "id":
			to, bit = &f.id, isID
		case "source":
			to, bit = &source, isSource
		case "type":
			to, bit = &f.kind, isType
		case "time":
			to, bit = &when, isTime
		case "datacontenttype":
			to, bit = &contentType, isContentType
		case "traceparent":
			to, bit = &f.traceparent, isTraceParent
		case "data":
			to, bit = nil, isData
		default:
			if !attributeName(string(key)) {
				return fmt.Errorf("%q is no CloudEvents attribute name", key)
			}
			return nil
		}
		if seen&bit != 0 {
			return fmt.Errorf("attribute %q is there twice", key)
		}
		seen |= bit
		if to == nil {
			f.data = value
			return nil
		}
		if !isString(value) {
			return fmt.Errorf("attribute %q is not a string", key)
		}
		*to = text(value)
		return nil
	})
	if err != nil {
		return f, err
	}
	switch {
	case version != "1.0":
		return f, errors.New("specversion is not 1.0")
	case f.id == "":
		return f, errors.New("id is missing or empty")
	case source == "":
		return f, errors.New("source is missing or empty")
	case f.kind == "":
		return f, errors.New("type is missing or empty")
	case seen&isContentType != 0 && !strings.HasPrefix(contentType, "application/json"):
		return f, errors.New("datacontenttype is not application/json")
	case seen&isTraceParent != 0 && !validTraceParent(f.traceparent):
		return f, errors.New("traceparent is malformed")
	case f.data == nil:
		return f, errors.New("data is missing")
	}
	if seen&isTime != 0 {
		if _, err := time.Parse(time.RFC3339Nano, when); err != nil {
			return f, errors.New("time is not RFC 3339")
		}
	}
	return f, nil
}

// attributeName: lower-case letters and digits.
func attributeName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// validTraceParent holds a traceparent to the W3C's recommendation.
func validTraceParent(s string) bool {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	version := s[:2]
	if version == "ff" || (version == "00" && len(s) != 55) || (len(s) > 55 && s[55] != '-') {
		return false
	}
	for _, part := range []string{version, s[3:35], s[36:52], s[53:55]} {
		for _, c := range []byte(part) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}

// ackSequence reads the data of whatsapp.ack.
func ackSequence(data []byte) (uint64, error) {
	var value string
	err := walkObject(data, func(key, v []byte) error {
		if string(key) == "sequence" {
			value = text(v)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("data: %w", err)
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || len(value) != 20 {
		return 0, errors.New("data.sequence is not a number in 20 digits")
	}
	return n, nil
}

// newToken reads the data of whatsapp.token.
func newToken(data []byte) (string, error) {
	var value string
	err := walkObject(data, func(key, v []byte) error {
		if string(key) == "access_token" {
			value = text(v)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("data: %w", err)
	}
	if value == "" {
		return "", errors.New("data.access_token is not a string with a token in it")
	}
	return value, nil
}

// appendFrame writes one WebSocket frame of a server.
func appendFrame(dst []byte, opcode byte, payload []byte) []byte {
	return append(appendFrameHeader(dst, opcode, len(payload)), payload...)
}

// The opcodes of RFC 6455, with FIN set; rsv1 marks a compressed message.
const (
	opText   = 0x81
	opBinary = 0x82
	opClose  = 0x88
	opPing   = 0x89
	opPong   = 0x8a
	rsv1     = 0x40
)

func appendFrameHeader(dst []byte, opcode byte, size int) []byte {
	switch {
	case size < 126:
		return append(dst, opcode, byte(size))
	case size < 1<<16:
		return append(dst, opcode, 126, byte(size>>8), byte(size))
	default:
		n := uint64(size)
		return append(dst, opcode, 127, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
}
