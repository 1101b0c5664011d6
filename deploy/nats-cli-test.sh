#!/usr/bin/env bash
# Runs the bridge as its users do, with the real nats command line: publish,
# subscribe, inspect. Needs nats and nats-server on the PATH, and curl.
set -euo pipefail
cd "$(dirname "$0")/.."

. deploy/test-lib.sh

start_bridge
until_true 20 nats rtt

echo "publish with nats pub, read the outcome with nats sub"
timeout 30 nats sub --count 1 'wa.status.demo' >"$dir/status.txt" 2>&1 &
sub=$!
timeout 30 nats sub --count 1 'wa.recv.demo' >"$dir/recv.txt" 2>&1 &
recv=$!
until_true 10 grep -q Subscribing "$dir/status.txt"
until_true 10 grep -q Subscribing "$dir/recv.txt"
nats pub wa.send.demo -H Nats-Msg-Id:cli-1 '{"to":"+15550142233","text":"hello from the command line"}' >/dev/null
wait "$sub" || { cat "$dir/status.txt"; exit 1; }
grep -q '"ref":"cli-1"' "$dir/status.txt"
grep -q '"status":"accepted"' "$dir/status.txt"

echo "answer as the phone, read it with nats sub"
write_as_user '{"session":"demo","text":"hi there"}'
wait "$recv" || { cat "$dir/recv.txt"; exit 1; }
grep -q 'hi there' "$dir/recv.txt"
grep -qi 'ce-type: whatsapp.message.text' "$dir/recv.txt"

echo "inspect with nats stream, nats consumer and nats kv"
nats stream ls --names | sort | tr '\n' ' ' | found 'WA_DEAD WA_RECV WA_SEND'
nats stream info WA_SEND --json | found 'wa.outbox'
nats consumer ls WA_SEND --names | found '^shard-'
nats kv ls --names | found wa_state
nats kv get wa_state state.demo --raw | found '"state":"connected"'
nats stream get WA_RECV --last-for wa.recv.demo | found 'hi there'

echo "run the bridge with nats micro and nats req"
nats micro ls | found wabridge
nats micro info wabridge | found 'wa.ctl.send'
nats req wa.ctl.status.demo '' --raw | found '"state":"connected"'
nats req wa.ctl.send.demo '{"to":"+15550142233","text":"and the outcome, please"}' --raw --timeout 30s | found '"status":"accepted"'
nats req wa.ctl.pause.demo '' --raw | found '"paused":true'
until_true 20 sh -c "nats req wa.ctl.status.demo '' --raw | grep -q '\"state\":\"paused\"'"
nats req wa.ctl.resume.demo '' --raw | found '"changed":true'
until_true 20 sh -c "nats req wa.ctl.status.demo '' --raw | grep -q '\"state\":\"connected\"'"
nats req wa.ctl.status.nobody '' 2>&1 | found 'no such session'

echo "the nats command line works with the bridge: publish, subscribe, inspect"
