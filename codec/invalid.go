package codec

import (
	"strconv"
	"strings"
)

// InvalidError says what is wrong with a command, where, and what would be
// right. It never quotes what the command holds.
type InvalidError struct {
	Path   string // "interactive.action.buttons[3].reply.title"; "" is the whole
	Reason string // "at most 20 characters, has 24"
}

// Error is path and reason in one line.
func (e *InvalidError) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

func invalid(path, reason string) *InvalidError { return &InvalidError{Path: path, Reason: reason} }

// within puts the path of an outer value before an error's own.
func within(path string, err *InvalidError) *InvalidError {
	switch {
	case err == nil:
		return nil
	case err.Path == "":
		err.Path = path
	case strings.HasPrefix(err.Path, "["):
		err.Path = path + err.Path
	default:
		err.Path = path + "." + err.Path
	}
	return err
}

// at is within for element i of an array.
func at(i int, err *InvalidError) *InvalidError {
	if err == nil {
		return nil
	}
	return within("["+strconv.Itoa(i)+"]", err)
}

// tooLong words a limit that was passed.
func tooLong(path string, most int, what string, has int) *InvalidError {
	return invalid(path, "at most "+strconv.Itoa(most)+" "+what+", has "+strconv.Itoa(has))
}
