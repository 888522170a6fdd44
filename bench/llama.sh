#!/usr/bin/env bash
# Measures the built-in engine beside llama.cpp: the same file, the same tokens, in one run. Safe to run again.
#
#   bench/llama.sh MODEL.gguf... [--rounds N] [--threads 1,2] [--json]
#
# Needs Linux, cargo, node 20 or newer and npm. The peer is the prebuilt llama.cpp of the npm package node-llama-cpp, which
# chooses its library by the processor (AVX-512 where there is one); it is installed once into the cache folder. Reads:
#   CARGO_TARGET_DIR    where build output goes (default: target/)
#   SEDGE_CACHE         where the peer is installed (default: .cache/)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=3.22.1
cache=${SEDGE_CACHE:-$here/../.cache}/llama-cpp-$version

fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

[ $# -gt 0 ] || fail 'no model file is given' 'bench/llama.sh MODEL.gguf... [--rounds N] [--threads 1,2] [--json]'
command -v cargo >/dev/null 2>&1 || fail '`cargo` is not on this machine' 'https://rustup.rs'
for it in node npm; do
  command -v "$it" >/dev/null 2>&1 ||
    fail "\`$it\` is not on this machine" 'the peer comes from npm: install Node.js 20 or newer, https://nodejs.org'
done

case $(uname -sm) in
  'Linux x86_64') library=linux-x64 ;;
  'Linux aarch64') library=linux-arm64 ;;
  *) fail "the peer is not measured on $(uname -sm)" 'Linux on x86_64 or aarch64' ;;
esac

if [ ! -f "$cache/.installed" ]; then
  mkdir -p "$cache" || fail "cannot write to $cache" 'set SEDGE_CACHE to a folder that can be written'
  printf 'Installing node-llama-cpp %s into %s\n' "$version" "$cache" >&2
  printf '{ "private": true }\n' >"$cache/package.json"
  # The library is a package of its own; those for graphics cards stay away, and no script of a package runs.
  (cd "$cache" && npm install "node-llama-cpp@$version" "@node-llama-cpp/$library@$version" \
    --omit=optional --ignore-scripts --no-audit --no-fund --silent) ||
    fail "npm could not install node-llama-cpp $version" \
      'it needs a network, or a registry set by `npm config set registry`' \
      "an installation from elsewhere can be put into $cache/node_modules, with an empty file .installed beside it"
  : >"$cache/.installed"
fi

printf 'Building the engine\n' >&2
built=$(cd "$here/.." && cargo bench --quiet -p sedge-lm --bench engine --no-run --message-format=json |
  node -e '
    const lines = require("node:fs").readFileSync(0, "utf8").split("\n").filter(Boolean).map((it) => JSON.parse(it));
    console.log(lines.findLast((it) => it.executable && it.target.name === "engine").executable);
  ') || fail 'the engine does not build' 'cargo bench -p sedge-lm --bench engine --no-run'

exec node "$here/llama/compare.mjs" --engine "$built" --peer "$cache" "$@"
