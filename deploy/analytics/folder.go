package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"
)

const (
	fileName  = "%020d-%020d.parquet" // the first and the last sequence in it
	temporary = ".writing"
)

// folder holds the files of one table. One program at a time may write to it.
type folder string

// open creates the folder, clears what a crash left half written and returns up
// to which sequence the stream is landed.
func (f folder) open() (landed uint64, err error) {
	if err := os.MkdirAll(string(f), 0o750); err != nil {
		return 0, fmt.Errorf("creating a folder: %w", err)
	}
	if err := os.Remove(filepath.Join(string(f), temporary)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("clearing what a crash left: %w", err)
	}
	return f.landed()
}

// landed reads the names of the files: the highest sequence in them, 0 without.
func (f folder) landed() (uint64, error) {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return 0, fmt.Errorf("reading a folder: %w", err)
	}
	var last uint64
	for _, e := range entries { // in the order of their names, which is that of sequences
		if !strings.HasSuffix(e.Name(), ".parquet") {
			continue
		}
		var from, to uint64
		if _, err := fmt.Sscanf(e.Name(), fileName, &from, &to); err != nil {
			return 0, fmt.Errorf("%s is not named by its sequences: put it elsewhere", e.Name())
		}
		if from <= last || to < from {
			return 0, fmt.Errorf("%s holds sequences that another file has", e.Name())
		}
		last = to
	}
	return last, nil
}

// write adds a file with the rows of the sequences from first to last. It is there
// as a whole, and on the disk, or not at all.
func write[T any](f folder, rows []T, first, last uint64) error {
	landed, err := f.landed()
	if err != nil {
		return err
	}
	if landed >= first {
		return errors.New("another program writes to this folder")
	}
	temp := filepath.Join(string(f), temporary)
	if err := writeParquet(temp, rows); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	name := filepath.Join(string(f), fmt.Sprintf(fileName, first, last))
	if err := os.Rename(temp, name); err != nil { //nolint:gosec // the folder is the operator's to choose
		return fmt.Errorf("naming a file: %w", err)
	}
	return syncFile(string(f)) // so that the name stays
}

func writeParquet[T any](name string, rows []T) (err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640) //nolint:gosec // its group may read it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := parquet.NewGenericWriter[T](file, parquet.Compression(&parquet.Zstd))
	if _, err := w.Write(rows); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return file.Sync()
}

func syncFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("flushing a folder: %w", err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("flushing a folder: %w", err)
	}
	return nil
}
