#!/usr/bin/env bash
# Shows that erase-user.sh erases one user and nobody else, on a NATS server of
# its own. Needs nats, nats-server and jq on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'kill $server 2>/dev/null; wait; rm -rf "$dir"' EXIT
nats-server -js -sd "$dir/js" -a 127.0.0.1 -p -1 --ports_file_dir "$dir" >"$dir/nats.log" 2>&1 &
server=$!
for _ in $(seq 100); do
  ls "$dir"/*.ports >/dev/null 2>&1 && break
  sleep 0.1
done
NATS_URL=$(jq -r '.nats[0]' "$dir"/*.ports)
export NATS_URL WABRIDGE_NATS_URL=$NATS_URL

go run ./cmd/wabridge streams --json | jq -c '.[]' | while read -r stream; do
  echo "$stream" >"$dir/stream.json" && nats stream add --config "$dir/stream.json" >/dev/null </dev/null
done
picture=$(head -c 1000 /dev/urandom | tee "$dir/picture" | sha256sum | cut -d' ' -f1)
nats object put wa_media "$dir/picture" --name "$picture" --force >/dev/null 2>&1

say() { nats pub "$@" >/dev/null 2>&1 </dev/null; }
say wa.send.shop '{"to":"+1 (555) 014-2233","text":"hello"}'
say wa.send.shop '{"to":"+15550149999","text":"hello"}'
say wa.recv.shop -H ce-subject:15550142233 '{"message":{"from":"15550142233","image":{"object":"'"$picture"'"}}}'
say wa.recv.shop -H ce-subject:15550149999 '{"message":{"from":"15550149999","text":{"body":"me"}}}'
say wa.status.shop -H ce-subject:15550142233 '{"status":"read"}'
say wa.dead.shop -H Wa-Dead-Reason:x 'not JSON, of 15550142233'

count() { nats stream info "$1" --json | jq .state.messages; }
is() { [ "$2" = "$3" ] || { echo "$1: $2, want $3"; exit 1; }; }
bash deploy/erase-user.sh +15550142233 | tee "$dir/shown"
is "records before" "$(count WA_SEND) $(count WA_RECV) $(count WA_DEAD)" "2 3 1"
grep -q 'WA_RECV: 2 records' "$dir/shown"
bash deploy/erase-user.sh --yes +15550142233
is "records after" "$(count WA_SEND) $(count WA_RECV) $(count WA_DEAD)" "1 1 0"
! nats object info wa_media "$picture" >/dev/null 2>&1 || { echo "the picture is still there"; exit 1; }
! nats stream get WA_RECV --last-for wa.recv.shop | grep -q 15550142233
bash deploy/erase-user.sh +15550142233 | tee "$dir/shown"
is "left" "$(grep -c ': 0 records' "$dir/shown")" 3
! bash deploy/erase-user.sh 123 2>/dev/null || { echo "took three digits for a user"; exit 1; }
echo "one user is erased, the others are there"
