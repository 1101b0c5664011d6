package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// variable is one line of the configuration reference.
type variable struct {
	Name        string
	Default     string
	Description string
	Secret      bool
}

// globalVariables lists the variables of the service, sessionVariables those of
// the session whose variables begin with under.
func globalVariables() ([]variable, error) { return variables(prefix, defaultSettings()) }

func sessionVariables(under string) ([]variable, error) {
	return variables(under, &sessionSettings{})
}

// variables asks envconfig itself for the names, so that they are those it reads.
func variables(under string, spec any) ([]variable, error) {
	const line = "{{range .}}{{.Key}}\t{{.Field}}\t{{usage_type .}}\t{{usage_description .}}\n{{end}}"
	var out bytes.Buffer
	if err := envconfig.Usagef(under, spec, &out, line); err != nil {
		return nil, fmt.Errorf("listing variables: %w", err)
	}
	var list []variable
	for l := range strings.Lines(out.String()) {
		f := strings.SplitN(strings.TrimSuffix(l, "\n"), "\t", 4)
		v := variable{Name: f[0], Default: f[1], Description: f[3], Secret: f[2] == "secret"}
		if v.Secret {
			v.Default = ""
		}
		list = append(list, v)
	}
	return list, nil
}

// injected matches what Kubernetes sets for a service whose name begins with
// ours. A bare …_PORT is its only where the value is an address (see unknown).
var injected = regexp.MustCompile(
	`^WABRIDGE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// unknown warns of each variable under our prefix that nothing reads. It quotes
// names and no value.
func unknown(environ, known []string) []string {
	var warnings []string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case !strings.HasPrefix(name, prefix+"_"), slices.Contains(known, name), injected.MatchString(name):
			continue
		case strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://"):
			continue
		}
		w := fmt.Sprintf("%q is not a variable of wabridge and is ignored", name)
		switch near := nearest(name, known); {
		case strings.HasPrefix(name, prefix+"_SESSION_") && (near == "" || distance(name, near) > 2):
			// The names of another session's variables are near, and not meant.
			w += "; is its session in " + prefix + "_SESSIONS?"
		case near != "":
			w += "; did you mean " + near + "?"
		}
		warnings = append(warnings, w)
	}
	slices.Sort(warnings)
	return warnings
}

// nearest is the known name with the smallest edit distance, or "" where none
// is near.
func nearest(name string, known []string) string {
	best, least := "", max(2, (len(name)-len(prefix))/3)+1
	for _, k := range known {
		// Names differ at least by their lengths; a long one is not worth the walk.
		if max(len(name)-len(k), len(k)-len(name)) >= least {
			continue
		}
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap with their
// neighbour to turn a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
