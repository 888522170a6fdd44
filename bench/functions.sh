#!/usr/bin/env bash
# Measures HTTP functions beside other runtimes: the same request, turn by turn, in one run. Safe to run again.
#
#   bench/functions.sh [--seconds N] [--rounds N]
#
# sedge runs functions/web.wasm, a new instance for each request and a receipt on disk for each. wasmtime, if it is there,
# serves the same component, a new instance for each request too, and keeps nothing. workerd, deno and bun run the same in
# JavaScript, in one isolate that stays warm, and keep nothing. All listen on loopback and are asked by wrk.
# Needs Linux, cargo, python3, node and npm (the JavaScript runtimes are packages of it), and wrk. Reads:
#   SEDGE               the program to measure (default: a release build of this tree)
#   WASMTIME            the wasmtime program (default: the one in PATH; without one it is left out)
#   SEDGE_CACHE         where the peers are installed (default: .cache/)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=(workerd@1.20261117.1 deno@2.9.6 bun@1.4.5)
cache=${SEDGE_CACHE:-$here/../.cache}/bench-functions
seconds=5 rounds=3

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?} ;;
    --rounds) rounds=${2:?} ;;
    *) fail "there is no option \`$1\`" 'bench/functions.sh [--seconds N] [--rounds N]' ;;
  esac
  shift 2
done

for it in python3 node npm; do command -v "$it" >/dev/null || fail "\`$it\` is not on this machine"; done
command -v wrk >/dev/null || fail '`wrk` is not on this machine' 'Debian and Ubuntu: apt-get install wrk'
if [ "$(cat "$cache/.peers" 2>/dev/null)" != "${peers[*]}" ]; then
  printf 'Installing %s into %s\n' "${peers[*]}" "$cache" >&2
  mkdir -p "$cache"
  printf '{ "private": true }\n' >"$cache/package.json"
  (cd "$cache" && npm install "${peers[@]}" --ignore-scripts --no-audit --no-fund --silent) ||
    fail "npm could not install ${peers[*]}"
  printf '%s\n' "${peers[*]}" >"$cache/.peers"
fi
program() { # a pattern of its path
  find "$cache/node_modules" -path "$1" -type f | head -1
}
if [ -z "${SEDGE:-}" ]; then
  printf 'Building sedge\n' >&2
  cargo build --release --locked --quiet --manifest-path "$here/../Cargo.toml"
  SEDGE=${CARGO_TARGET_DIR:-$here/../target}/release/sedge
fi
WASMTIME=${WASMTIME:-$(command -v wasmtime || true)}

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

mkdir -m 700 "$folder/home"
"$SEDGE" up --no-model --home "$folder/home" --api 127.0.0.1:0 >"$folder/sedge.log" 2>&1 &
sedge=$!
until [ -s "$folder/home/run/node.json" ]; do
  kill -0 $sedge 2>/dev/null || fail 'sedge did not start' "$(cat "$folder/sedge.log")"
  sleep 0.05
done
"$SEDGE" --home "$folder/home" deploy "$here/../functions/web.wasm" --id web >/dev/null
KEY=$(cat "$folder/home/api.key")
export KEY
address=$(sed -n 's/.*"api": *"\([^"]*\)".*/\1/p' "$folder/home/run/node.json")

declare -A process url
names=(sedge)
process[sedge]=$sedge url[sedge]=http://$address/fn/web/

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() { # name, port, command...
  local name=$1 port=$2
  shift 2
  "$@" >"$folder/$name.log" 2>&1 &
  names+=("$name") process[$name]=$! url[$name]=http://127.0.0.1:$port/
}

port=$(free_port)
cp "$here/functions/workerd.js" "$folder/"
cat >"$folder/config.capnp" <<EOF
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "workerd.js", esModule = embed "workerd.js")], compatibilityDate = "2026-01-01"))],
  sockets = [(name = "http", address = "127.0.0.1:$port", http = (), service = "main")],
);
EOF
start workerd "$port" "$(program '*/@cloudflare/*/bin/workerd')" serve "$folder/config.capnp"
port=$(free_port)
start deno "$port" "$(program '*/@deno/*/deno')" run --allow-net "$here/functions/deno.js" "$port"
port=$(free_port)
start bun "$port" "$(program '*/@oven/bun-linux-*64/bin/bun')" run "$here/functions/bun.js" "$port"
if [ -n "$WASMTIME" ]; then
  port=$(free_port)
  start wasmtime "$port" "$WASMTIME" serve -S cli -O pooling-allocator=y --addr "127.0.0.1:$port" \
    "$here/../functions/web.wasm"
else
  printf 'wasmtime is not here and is left out: cargo install wasmtime-cli --version 48.0.8 --locked\n' >&2
fi

for name in "${names[@]}"; do
  answer=$(python3 - "${url[$name]}" "$KEY" <<'EOF'
import sys, time, urllib.request
for _ in range(200):
    try:
        request = urllib.request.Request(sys.argv[1], b"abc", {"authorization": "Bearer " + sys.argv[2]})
        print(urllib.request.urlopen(request).read().decode())
        break
    except OSError as err:
        last = err
        time.sleep(0.05)
else:
    sys.exit(f"{sys.argv[1]}: {last}")
EOF
  ) || fail "$name did not answer" "$(cat "$folder/$name.log")"
  [ "$answer" = ABC ] || fail "$name answered «$answer»"
done

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
resident() { awk '/VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$1/status"; }

measure() { # who, process, url, connections
  local before after
  before=$(ticks "$2")
  wrk -t1 -c"$4" -d"${seconds}s" --latency -s "$here/functions/post.lua" "$3" >"$folder/wrk"
  after=$(ticks "$2")
  python3 - "$folder/wrk" "$1" "$4" $((after - before)) "$(getconf CLK_TCK)" <<'EOF' >>"$folder/figures"
import json, re, sys
path, who, connections, ticks, per_second = sys.argv[1:]
text = open(path).read()
unit = {"us": 1, "ms": 1e3, "s": 1e6}
def at(percent):
    number, suffix = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$", text, re.M).groups()
    return float(number) * unit[suffix]
if re.search("Non-2xx|Socket errors", text):
    sys.exit(f"{who}: not every answer was one:\n{text}")
count = int(re.search(r"(\d+) requests in", text)[1])
print(json.dumps({"who": who, "connections": int(connections), "p50": at(50), "p99": at(99),
    "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
    "cpu": int(ticks) / int(per_second) * 1e6 / count}))
EOF
}

for connections in 1 32; do
  for _ in $(seq "$rounds"); do
    for name in "${names[@]}"; do measure "$name" "${process[$name]}" "${url[$name]}" $connections; done
  done
done

for name in "${names[@]}"; do printf '%s %s\n' "$name" "$(resident "${process[$name]}")"; done >"$folder/resident"
python3 - "$folder/figures" "$folder/resident" <<'EOF'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
resident = dict(line.split() for line in open(sys.argv[2]))
print("who      connections   p50 us   p99 us   requests/s   processor us each   resident MiB")
for connections in (1, 32):
    for who in resident:
        mine = [it for it in rows if it["who"] == who and it["connections"] == connections]
        middle = lambda key: statistics.median(it[key] for it in mine)
        print(f"{who:<8} {connections:>11} {middle('p50'):>8.0f} {middle('p99'):>8.0f} {middle('rate'):>12.0f}"
              f" {middle('cpu'):>19.1f} {resident[who]:>14}")
EOF
