#!/usr/bin/env bash
# Erases from NATS what wabridge keeps of one user:
#   deploy/erase-user.sh +15550142233            shows what would be erased
#   deploy/erase-user.sh --yes +15550142233      erases it
# The user is a phone number or a business-scoped user id. Everything that names
# it goes, in headers or body, whoever wrote it: commands, messages, statuses,
# events, dead letters, and the media that the user sent. Needs jq and the nats
# command line with an admin's credentials (a context, NATS_URL, …). PREFIX is
# WABRIDGE_SUBJECT_PREFIX where that is not "wa".
set -euo pipefail

yes=
[ "${1-}" = --yes ] && { yes=1; shift; }
user=$(tr -d ' ()+-' <<<"${1-}")
[ "${#user}" -ge 7 ] || { echo "usage: $0 [--yes] <phone number or user id>" >&2; exit 2; }
prefix=${PREFIX:-wa}
streams=${prefix^^}

# records STREAM: one JSON object for each record that names the user.
records() {
  [ "$(nats stream info "$1" --json | jq .state.messages)" -gt 0 ] || return 0
  nats sub --stream "$1" --all --terminate-at-end --dump=- 2>/dev/null |
    tr '\000' '\n' |
    jq -c --arg user "$user" '
      select(.Reply | startswith("$JS.ACK."))
      | (.Data // "" | @base64d) as $body
      | select(((.Header // {} | tostring) + $body) | gsub("[ ()+-]"; "") | contains($user))
      | {sequence: (.Reply | split(".") | if length > 9 then .[7] else .[5] end | tonumber), subject: .Subject, media: [$body | scan("[0-9a-f]{64}")]}'
}

for stream in "${streams}_SEND" "${streams}_RECV" "${streams}_DEAD"; do
  found=$(records "$stream")
  echo "$stream: $(grep -c . <<<"$found" || true) records"
  [ -n "$yes" ] && [ -n "$found" ] || continue
  jq -r '.sequence' <<<"$found" | while read -r sequence; do
    nats stream rmm "$stream" "$sequence" --force >/dev/null </dev/null
  done
  jq -r --arg recv "$prefix.recv." 'select(.subject | startswith($recv)) | .media[]' <<<"$found" | sort -u | while read -r object; do
    nats object rm "${prefix,,}_media" "$object" --force >/dev/null 2>&1 </dev/null && echo "media object $object: erased" || true
  done
done
if [ -z "$yes" ]; then
  echo "nothing was erased; --yes does it"
fi
