#!/usr/bin/env bash
# Starts docker-compose.yml on a Docker engine: three NATS nodes, two replicas of
# the bridge, the simulator. Sends messages both ways, stops one replica in the
# middle, shows that nothing is lost, and takes everything down again. It pulls
# nothing: the public base images are replaced by stand-ins that are built here
# from local programs, and the Go image by one that hands out programs which were
# built outside.
set -euo pipefail
cd "$(dirname "$0")/.."

project=wabridge-test-$$
work=$(mktemp -d)
compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose -p "$project" "$@"
  else
    docker-compose -p "$project" "$@"
  fi
}

# Ports are picked by the engine; images are this run's own.
export NATS_PORT=0 SIMULATOR_PORT=0 ADMIN_PORT=0 ADMIN_PORT_2=0
export GO_IMAGE=$project/go BASE_IMAGE=$project/base NATS_IMAGE=$project/nats
export WASIM_IMAGE=$project/wasim WABRIDGE_IMAGE=$project/wabridge

clean() {
  local code=$?
  if [ $code -ne 0 ]; then
    compose ps || true
    compose logs --no-color --tail=40 || true
  fi
  for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
  docker rm -f "$project-tail" >/dev/null 2>&1 || true
  compose down --volumes --timeout 20 >/dev/null 2>&1 || true
  docker image rm -f "$GO_IMAGE" "$BASE_IMAGE" "$NATS_IMAGE" "$WASIM_IMAGE" "$WABRIDGE_IMAGE" >/dev/null 2>&1 || true
  docker image prune -f --filter "label=$project" >/dev/null 2>&1 || true
  rm -rf "$work"
  exit $code
}
trap clean EXIT

echo "building the programs"
mkdir -p "$work"/{go,base,nats}
export CGO_ENABLED=0
go build -trimpath -o "$work/go/" ./cmd/wabridge ./cmd/wasim
go build -trimpath -o "$work/nats/nats-server" github.com/nats-io/nats-server/v2

# One small program stands in for the shell, wget and chown of the images.
mkdir "$work/box"
cat >"$work/box/main.go" <<'GO'
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "sh": // sh -c "go build …": what was built outside is the result
		if strings.Contains(os.Args[len(os.Args)-1], "go build") {
			err = os.CopyFS("/out", os.DirFS("/built"))
		}
	case "wget":
		var answer *http.Response
		if answer, err = http.Get(os.Args[len(os.Args)-1]); err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %s", answer.Status)
		}
		if err == nil {
			_, err = io.Copy(os.Stdout, answer.Body)
		}
	case "chown":
		user, group, _ := strings.Cut(os.Args[1], ":")
		uid, _ := strconv.Atoi(user)
		gid, _ := strconv.Atoi(group)
		for _, dir := range os.Args[2:] {
			err = errors.Join(err, os.Chown(dir, uid, gid))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
GO
go build -o "$work/go/sh" "$work/box/main.go"
cp "$work/go/sh" "$work/nats/box"

echo "building the stand-ins"
cat >"$work/go/Dockerfile" <<DOCKER
FROM scratch
LABEL $project=1
COPY sh /bin/sh
COPY wabridge wasim /built/
DOCKER
cat >"$work/base/Dockerfile" <<DOCKER
FROM scratch
LABEL $project=1
DOCKER
cat >"$work/nats/Dockerfile" <<DOCKER
FROM scratch
LABEL $project=1
COPY nats-server /usr/local/bin/nats-server
COPY box /usr/bin/wget
COPY box /bin/chown
ENV PATH=/usr/local/bin:/usr/bin:/bin
DOCKER
for image in go base nats; do
  docker build -q -t "$project/$image" "$work/$image" >/dev/null
done

# until_true SECONDS COMMAND...: waits for a command to succeed.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "gave up waiting for: $*"; return 1; }
    sleep 0.5
  done
}
container() { compose ps -q "$1"; }
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = healthy ]; }
# wabridge ARGUMENT...: the command line, as the admin.
wabridge() { docker exec "$project-tail" /usr/local/bin/wabridge "$@"; }
# write TEXT: a user writes.
write() { curl -fsS --max-time 10 "$simulator/control/users/15550142233/messages" -d "{\"session\":\"demo\",\"text\":\"$1\"}" >/dev/null; }

echo "building and starting the stack"
compose build >/dev/null
compose up -d
one=$(container bridge-1) two=$(container bridge-2)
simulator=http://127.0.0.1:$(compose port simulator 8080 | sed 's/.*://')
until_true 90 healthy "$one"
until_true 90 healthy "$two"
for service in nats-1 nats-2 nats-3 bridge-1 bridge-2 simulator; do
  got=$(docker inspect -f '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$(container "$service")")
  case $got in
    1000:1000\ true\ \[ALL\]\ \[no-new-privileges:true\] | 65532:65532\ true\ \[ALL\]\ \[no-new-privileges:true\]) ;;
    *) echo "$service runs as: $got"; exit 1 ;;
  esac
done

echo "one message each way"
compose run --rm -T --name "$project-tail" wabridge tail recv demo --since 1h </dev/null >"$work/received" 2>&1 &
until_true 60 wabridge version
wabridge check
wabridge streams >"$work/streams" || { cat "$work/streams"; exit 1; }
[ "$(grep -c ' R3, ' "$work/streams")" -ge 11 ] || { cat "$work/streams"; echo "not every stream has three copies"; exit 1; }
wabridge send demo --to +15550142233 --text hello --ref out-0 | tee "$work/sent"
grep -q '^accepted ' "$work/sent"
write "in 0."
until_true 30 grep -q 'in 0\.' "$work/received"

echo "each replica stops in turn, while messages go both ways"
while_stopping() {
  local n=1
  until [ -e "$work/stopped" ]; do
    "$1" "$n" || echo "number $n failed"
    n=$((n + 1))
    sleep 0.2
  done
  echo $((n - 1)) >"$work/last-$1"
}
send_in() { write "in $1."; }
send_out() { wabridge send demo --to +15550142233 --text hello --ref "out-$1" --timeout 60s | grep '^accepted ' >/dev/null; }
while_stopping send_in >"$work/in" 2>&1 &
writing=$!
while_stopping send_out >"$work/out" 2>&1 &
sending=$!
compose stop --timeout 30 bridge-1 >/dev/null 2>&1
healthy "$two"
compose start bridge-1 >/dev/null 2>&1
until_true 60 healthy "$one"
compose stop --timeout 30 bridge-2 >/dev/null 2>&1
healthy "$one"
touch "$work/stopped"
wait "$writing" "$sending"
cat "$work/in" "$work/out"
[ ! -s "$work/in" ] && [ ! -s "$work/out" ]

last_in=$(<"$work/last-send_in") last_out=$(<"$work/last-send_out")
echo "of $last_in messages in and $last_out out nothing is lost, nothing doubled"
[ "$last_in" -ge 10 ] && [ "$last_out" -ge 5 ]
for n in $(seq 0 "$last_in"); do
  until_true 30 grep -q "in $n\\." "$work/received" || { cat "$work/received"; exit 1; }
  [ "$(grep -c "in $n\\." "$work/received")" -eq 1 ] || { echo "in $n came more than once"; exit 1; }
done
curl -fsS --max-time 10 "$simulator/control/messages?session=demo&limit=1000" >"$work/delivered"
for n in $(seq 0 "$last_out"); do
  times=$(grep -o "\"ref\":\"out-$n\"" "$work/delivered" | wc -l) || true
  [ "$times" -eq 1 ] || { echo "out $n was delivered $times times"; exit 1; }
done
echo "the stack works"
