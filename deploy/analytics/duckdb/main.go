// Command duckdb runs a file of SQL in DuckDB, in the current folder, and prints the
// result as lines of tab-separated values. It is a module of its own: DuckDB is
// large, and nothing else here needs it.
//
//	cd analytics && duckdb ../deploy/analytics/funnel.sql
package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // registers the driver
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "duckdb:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	if len(args) != 1 {
		return errors.New("want a file of SQL")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return fmt.Errorf("opening DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, string(text))
	if err != nil {
		return fmt.Errorf("querying: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return table(rows, out)
}

func table(rows *sql.Rows, out io.Writer) error {
	columns, err := rows.Columns()
	if err != nil {
		return fmt.Errorf("reading the result: %w", err)
	}
	w := bufio.NewWriter(out)
	fmt.Fprintln(w, strings.Join(columns, "\t"))
	values, cells := make([]any, len(columns)), make([]string, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("reading the result: %w", err)
		}
		for i, v := range values {
			if at, ok := v.(time.Time); ok {
				v = at.Format(time.DateOnly)
			}
			cells[i] = fmt.Sprint(v)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return errors.Join(rows.Err(), w.Flush())
}
