#!/usr/bin/env bash
# Runs the queries of deploy/analytics in DuckDB on the files of TestFunnel, which
# computes the same in Go. DuckDB comes with a Go module of its own (half a
# gigabyte the first time).
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

ANALYTICS_TEST_KEEP=$dir/files go test -count=1 -run 'TestFunnel$' ./deploy/analytics
go build -C deploy/analytics/duckdb -o "$dir/duckdb" .

# expect NAME: the last line of what the query says is standard input.
expect() {
  (cd "$dir/files" && "$dir/duckdb" "$OLDPWD/deploy/analytics/$1.sql") | tail -n 1 | tr '\t' ' ' >"$dir/$1.txt"
  diff "$dir/$1.txt" - || { echo "$1.sql says something else"; exit 1; }
}

echo '2026-11-23 shop 7 6 3 2 2 42.9 66.7 4 4' | expect funnel
echo '2026-11-23 shop 3 1 30 30' | expect answers
echo "DuckDB finds the funnel and the answer times that Go finds"
