package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
)

// configError is every fault of the configuration. It quotes no value: any of
// them may be a secret put in the wrong place.
type configError struct{ Faults []string }

// Error gives one fault per line.
func (e *configError) Error() string { return strings.Join(e.Faults, "\n") }

// faults collects what is wrong while values are read.
type faults struct {
	list []string
	// spell gives the name that people know a value by; nil is the variable that
	// the name ends.
	spell func(name string) string
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &configError{Faults: f.list}
}

// add notes a fault of a value.
func (f *faults) add(name, format string, args ...any) {
	spelt := prefix + "_" + name
	if f.spell != nil {
		spelt = f.spell(name)
	}
	f.list = append(f.list, spelt+": "+fmt.Sprintf(format, args...))
}

func (f *faults) oneOf(name string, value text, allowed ...string) string {
	v := strings.ToLower(string(value))
	if !slices.Contains(allowed, v) {
		f.add(name, "want %s", strings.Join(allowed, " or "))
	}
	return v
}

func (f *faults) number(name string, value text, least, most int) int {
	n, err := strconv.Atoi(string(value))
	if err != nil || n < least || n > most {
		f.add(name, "want a whole number from %d to %d", least, most)
	}
	return n
}

func (f *faults) flag(name string, value text) bool {
	switch strings.ToLower(string(value)) {
	case "on", "true", "yes", "1":
		return true
	case "off", "false", "no", "0":
		return false
	}
	f.add(name, "want on or off")
	return false
}

func (f *faults) duration(name string, value text, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(string(value))
	if err != nil || d < least || d > most {
		f.add(name, "want a duration such as 25s, from %s to %s", least, most)
	}
	return d
}

func (f *faults) level(name string, value text) slog.Level {
	var l slog.Level
	switch strings.ToLower(string(value)) {
	case "debug":
		l = slog.LevelDebug
	case "info":
		l = slog.LevelInfo
	case "warn", "warning":
		l = slog.LevelWarn
	case "error":
		l = slog.LevelError
	default:
		f.add(name, "want debug, info, warn or error")
	}
	return l
}

// off turns a listener off.
const off = "off"

func (f *faults) address(name string, value text) string {
	if value == "" || value == off {
		return string(value)
	}
	_, port, err := net.SplitHostPort(string(value))
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		f.add(name, "want host:port, or :port for every address, or off")
	}
	return string(value)
}

func (f *faults) url(name string, value text, schemes ...string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(string(value))
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		f.add(name, "want a full address that begins with %s://", strings.Join(schemes, ":// or "))
	}
	return string(value)
}

func (f *faults) id(name string, value text) string {
	if value != "" && !bridge.ValidID(string(value)) {
		f.add(name, "want 1 to 64 letters, digits, _ or -")
	}
	return string(value)
}

func (f *faults) graphVersion(name string, value text) string {
	var major, minor uint8
	if n, err := fmt.Sscanf(string(value)+"\n", "v%d.%d\n", &major, &minor); err != nil || n != 2 {
		f.add(name, "want a version such as v26.0")
	}
	return string(value)
}

// file checks that a file can be opened. Its name is not quoted: it may be a
// secret that was meant for the variable beside it.
func (f *faults) file(name string, path text) string {
	if path == "" {
		return ""
	}
	file, err := os.Open(string(path))
	if err != nil {
		f.add(name, "names a file that cannot be opened")
		return string(path)
	}
	if info, err := file.Stat(); err != nil || info.IsDir() {
		f.add(name, "names a directory, not a file")
	}
	if err := file.Close(); err != nil {
		f.add(name, "names a file that cannot be closed")
	}
	return string(path)
}

// both demands that two variables are set together or not at all.
func (f *faults) both(a string, valueA text, b string, valueB text) {
	switch {
	case valueA != "" && valueB == "":
		f.add(b, "is missing; %s_%s needs it", prefix, a)
	case valueA == "" && valueB != "":
		f.add(a, "is missing; %s_%s needs it", prefix, b)
	}
}

// apart reports a value that cannot be set together with another variable.
func (f *faults) apart(name, value, other string) {
	if value != "" {
		f.add(name, "is set together with %s_%s: set one of them", prefix, other)
	}
}

// secret gives the reference to a secret that is set by value or by file; ""
// where it is not set.
func (f *faults) secret(name string, set secret, path text) bridge.SecretRef {
	if set {
		f.apart(name, string(path), name+"_FILE")
	}
	if path != "" {
		ref := "file:" + string(path)
		// The error names the path, which may be a secret in the wrong variable.
		if _, err := auth.Resolve(ref); err != nil {
			f.add(name+"_FILE", "names a file that cannot be read or is empty")
		}
		return bridge.SecretRef(ref)
	}
	if set {
		return bridge.SecretRef("env:" + prefix + "_" + name)
	}
	return ""
}

// key reads a secret that is a key.
func (f *faults) key(name string, set secret, path text) string {
	ref := f.secret(name, set, path)
	if ref == "" {
		return ""
	}
	value, err := auth.Resolve(string(ref))
	if err != nil {
		return "" // f.secret said so
	}
	if _, err := auth.ParseKey(strings.TrimSpace(value)); err != nil {
		f.add(name, "want 32 bytes in hexadecimal or base64, such as openssl rand -base64 32 prints")
	}
	return strings.TrimSpace(value)
}
