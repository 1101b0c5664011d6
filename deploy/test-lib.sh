# Functions that the tests of this folder share; to be sourced by bash. start_bridge
# runs the stack as its users do: nats-server, the simulator and the bridge with
# the session demo, all on ports of 127.0.0.1 that are free. Needs nats-server on
# the PATH, curl and python3. Everything ends with the script.

dir=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$dir"
}
trap cleanup EXIT

# free_port prints a port that nobody listens on now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# until_true SECONDS COMMAND...: waits for a command to succeed.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { echo "gave up waiting for: $*"; tail -n 20 "$dir"/*.log; return 1; }
    sleep 0.1
  done
}

# background NAME COMMAND...: runs it until the script ends, its output in $dir/NAME.log.
background() {
  local name=$1
  shift
  "$@" >"$dir/$name.log" 2>&1 &
  pids+=($!)
}

# start_bridge sets NATS_URL, and web_port for the simulator.
start_bridge() {
  local nats_port admin_port
  go build -o "$dir" ./cmd/wabridge ./cmd/wasim
  nats_port=$(free_port) web_port=$(free_port) admin_port=$(free_port)
  background nats nats-server -js -sd "$dir/js" -a 127.0.0.1 -p "$nats_port"
  background wasim "$dir/wasim" -addr "127.0.0.1:$web_port" -session demo -client-id demo -client-secret demo-secret
  export NATS_URL=nats://127.0.0.1:$nats_port WABRIDGE_NATS_URL=nats://127.0.0.1:$nats_port
  until_true 20 grep -q 'Server is ready' "$dir/nats.log"
  until_true 20 curl -fsS "http://127.0.0.1:$web_port/livez"

  export WABRIDGE_SESSIONS=demo WABRIDGE_ADMIN_ADDR=127.0.0.1:$admin_port
  export WABRIDGE_SESSION_DEMO_PLATFORM=chatapi WABRIDGE_SESSION_DEMO_CLIENT_ID=demo WABRIDGE_SESSION_DEMO_CLIENT_SECRET=demo-secret
  export WABRIDGE_SESSION_DEMO_URL="ws://127.0.0.1:$web_port/v1/sessions/{session}/ws"
  export WABRIDGE_SESSION_DEMO_TOKEN_URL=http://127.0.0.1:$web_port/oauth/token
  background wabridge "$dir/wabridge" run
  until_true 20 curl -fsS "http://127.0.0.1:$admin_port/readyz"
}

# write_as_user JSON: the phone 15550142233 writes to the session demo.
write_as_user() {
  curl -fsS "http://127.0.0.1:$web_port/control/users/15550142233/messages" -d "$1" >/dev/null
}

# found PATTERN: whether standard input has it. It reads to the end: grep -q stops
# early, and the command before the pipe would fail for that.
found() { grep -- "$1" >/dev/null; }
