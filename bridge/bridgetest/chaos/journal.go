package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// journal writes what happens, with the time since the start, to a file and to
// people.
type journal struct {
	mu     sync.Mutex
	file   *os.File
	people io.Writer
	began  time.Time
}

func newJournal(name string, people io.Writer, began time.Time) (*journal, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	return &journal{file: file, people: people, began: began}, nil
}

func (j *journal) printf(format string, args ...any) {
	now := time.Now()
	line := fmt.Sprintf("%s %8.3fs  %s\n", now.UTC().Format("15:04:05.000"), now.Sub(j.began).Seconds(), fmt.Sprintf(format, args...))
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.file.WriteString(line) // a full disk must not end the run
	fmt.Fprint(j.people, line)
}

func (j *journal) close() { _ = j.file.Close() } // likewise
