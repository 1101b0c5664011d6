#!/usr/bin/env bash
# Builds the example programs in deploy/clients and runs them against a real
# nats-server, the simulator and the bridge. The Go and the C program run; of the
# Python and the Node program only the syntax is checked, because a gate that
# works on loopback alone cannot install nats-py and nats.js. Needs nats-server on
# the PATH, a C compiler, python3, curl; installs Debian's libnats-dev where it is
# missing and can be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/test-lib.sh

if ! [ -e /usr/include/nats/nats.h ]; then
  echo "installing libnats-dev"
  apt-get install -y libnats-dev >"$dir/apt.log" 2>&1 ||
    { apt-get update && apt-get install -y libnats-dev; } >"$dir/apt.log" 2>&1 ||
    { tail -n 20 "$dir/apt.log"; exit 1; }
fi

python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' deploy/clients/python/client.py
if command -v node >/dev/null; then node --check deploy/clients/node/client.mjs; fi
go build -o "$dir/client-go" ./deploy/clients/go
"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror -o "$dir/client-c" deploy/clients/c/client.c -lnats

start_bridge

for lang in go c; do
  client=$dir/client-$lang
  echo "$lang: send, and wait for the outcome"
  "$client" send demo +15550142233 "a \"quoted\" parcel from $lang" "$lang-1" >"$dir/sent.txt"
  grep -q 'accepted' "$dir/sent.txt"
  cp "$dir/sent.txt" "$dir/first.txt"
  "$client" send demo +15550142233 "a parcel from $lang, again" "$lang-1" >"$dir/sent.txt"
  cmp "$dir/first.txt" "$dir/sent.txt" # one id is one command, with one outcome
  if "$client" send demo 123 "nobody" >"$dir/refused.txt" 2>&1; then
    echo "a refused command ended well"
    exit 1
  fi
  grep -q 'rejected' "$dir/refused.txt"

  echo "$lang: follow one type with a durable consumer, over a restart"
  since=$(date -u +%FT%TZ)
  background "follow-$lang" "$client" follow demo "crm-$lang" whatsapp.message.text
  follower=${pids[-1]}
  write_as_user "{\"session\":\"demo\",\"text\":\"first for $lang\"}"
  until_true 20 grep -q "15550142233 whatsapp.message.text .*first for $lang" "$dir/follow-$lang.log"
  kill "$follower" && wait "$follower" 2>/dev/null || true
  write_as_user '{"session":"demo","type":"location","location":{"latitude":52.5,"longitude":13.4}}'
  write_as_user "{\"session\":\"demo\",\"text\":\"second for $lang\"}"
  background "again-$lang" "$client" follow demo "crm-$lang" whatsapp.message.text
  until_true 20 grep -q "second for $lang" "$dir/again-$lang.log"
  if grep -qE "first for $lang|location" "$dir/again-$lang.log"; then
    echo "what was handled came again, or another type:"
    cat "$dir/again-$lang.log"
    exit 1
  fi

  echo "$lang: replay since a time"
  "$client" replay demo "$since" >"$dir/replayed.txt"
  [ "$(grep -c "for $lang" "$dir/replayed.txt")" = 2 ] && grep -q whatsapp.message.location "$dir/replayed.txt" ||
    { cat "$dir/replayed.txt"; exit 1; }
  "$client" replay demo "$since" whatsapp.message.location >"$dir/replayed.txt"
  [ "$(cut -d' ' -f2 "$dir/replayed.txt" | sort -u)" = whatsapp.message.location ] || { cat "$dir/replayed.txt"; exit 1; }
  "$client" replay demo 2100-01-01T00:00:00Z >"$dir/replayed.txt"
  ! [ -s "$dir/replayed.txt" ] || { cat "$dir/replayed.txt"; exit 1; }
done
echo "the example programs work: go and c ran, python and node parse"
