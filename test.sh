#!/usr/bin/env bash
# Sets up what the tests need, then runs every check of the project. Safe to run again and again.
#
#   ./test.sh            everything
#   ./test.sh fmt lints  only these steps: fmt, lints, docs, tests, fuzz, lan, arm64
#
# `fuzz` builds our crates once more, with coverage, and runs every fuzz target for a few seconds (fuzz/README.md).
#
# Needs the Rust toolchain, a C compiler (C++ for fuzz), and python3 with pip. Reads:
#   CARGO_TARGET_DIR    where build output goes (default: target/)
#   SEDGE_CACHE         where the tests' Python packages are kept (default: .cache/)
#   SEDGE_TEST_MODELS   where the tests keep downloaded models (default: ~/.cache/sedge/models)
#   SEDGE_TEST_GUESTS   where snapshots of interpreters and compilers for guests are kept (default: ~/.cache/sedge/guests)
#   SEDGE_TEST_PYTHON   a Python that has scripts/test-requirements.txt already; nothing is installed then
#   SEDGE_FUZZ_SECONDS  how long each fuzz target runs (default: 4)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cache=${SEDGE_CACHE:-$PWD/.cache}
requirements=scripts/test-requirements.txt
probe='import cryptography, openai, anthropic, ollama, grpc_tools, dnslib'
summary=()
started=$SECONDS

fail() {
  printf '\nerror: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

need() { # command, where to get it
  command -v "$1" >/dev/null 2>&1 || fail "\`$1\` is not on this machine" "$2"
}

# One step: a heading, its output, its duration. The first failure ends the run.
step() { # name, title, command...
  local name=$1 title=$2 from=$SECONDS
  shift 2
  printf '\n== %s\n   %s\n' "$title" "$*"
  if "$@"; then
    summary+=("ok      $(printf '%5ds' $((SECONDS - from)))  $title")
  else
    summary+=("FAILED  $(printf '%5ds' $((SECONDS - from)))  $title")
    report
    fail "$title failed" "run it alone: ./test.sh $name"
  fi
}

report() {
  printf '\n== Summary, %ds\n' $((SECONDS - started))
  printf '   %s\n' "${summary[@]}"
}

# Makes a Python that has the packages: a virtual environment, or a folder beside the system's Python.
provide_python() {
  if [ -n "${SEDGE_TEST_PYTHON:-}" ]; then
    "$SEDGE_TEST_PYTHON" -c "$probe" || fail "SEDGE_TEST_PYTHON=$SEDGE_TEST_PYTHON lacks a package" \
      "$SEDGE_TEST_PYTHON -m pip install -r $requirements"
    return
  fi
  local venv=$cache/venv side=$cache/python-packages wanted stamp
  wanted=$(cksum <"$requirements")
  mkdir -p "$cache" || fail "cannot write to $cache" "set SEDGE_CACHE to a folder that can be written"
  stamp=$venv/.requirements
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c "$probe" 2>/dev/null; then
    export SEDGE_TEST_PYTHON=$venv/bin/python
    return
  fi
  stamp=$side/.requirements
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && PYTHONPATH=$side python3 -c "$probe" 2>/dev/null; then
    use_side_folder "$side"
    return
  fi
  if rm -rf "$venv" && python3 -m venv "$venv" >"$cache/venv.log" 2>&1; then
    install "$venv/bin/python" -m pip install
    export SEDGE_TEST_PYTHON=$venv/bin/python
    stamp=$venv/.requirements
  else
    printf '   python3 cannot make a virtual environment here; using a folder of packages\n'
    rm -rf "$venv" "$side"
    install python3 -m pip install --target "$side"
    use_side_folder "$side"
  fi
  "$SEDGE_TEST_PYTHON" -c "$probe" || fail "the Python packages were installed but cannot be used"
  printf '%s\n' "$wanted" >"$stamp"
}

use_side_folder() {
  export PYTHONPATH=$1${PYTHONPATH:+:$PYTHONPATH}
  SEDGE_TEST_PYTHON=$(command -v python3)
  export SEDGE_TEST_PYTHON
}

install() { # pip install and its options
  "$1" -m pip --version >/dev/null 2>&1 ||
    fail "python3 has no pip" "Debian and Ubuntu: apt-get install python3-pip python3-venv"
  PIP_ROOT_USER_ACTION=ignore "$@" --quiet --disable-pip-version-check --requirement "$requirements" ||
    fail "pip could not install what $requirements lists" \
      "behind a mirror, set PIP_INDEX_URL; without a network, set SEDGE_TEST_PYTHON to a Python that has them"
}

# A browser for the pages' tests. Debian has one; elsewhere a person brings a \`chromium\`.
provide_browser() {
  command -v chromium >/dev/null 2>&1 && return
  local how='Debian: apt-get install chromium; elsewhere put a `chromium` into PATH'
  { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; } || fail 'no `chromium` is on this machine' "$how"
  printf '   installing chromium with apt-get\n'
  { apt-get install -qq -y --no-install-recommends chromium ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; }; } >"$cache/chromium.log" 2>&1 ||
    fail 'chromium could not be installed' "$how" "its log is $cache/chromium.log"
}

# A server of Redis for the tests of functions that speak with one; each test runs one of its own.
provide_redis() {
  command -v redis-server >/dev/null 2>&1 && return
  local how='Debian: apt-get install redis-server; elsewhere put a `redis-server` into PATH'
  { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; } || fail 'no `redis-server` is on this machine' "$how"
  printf '   installing redis-server with apt-get\n'
  { apt-get install -qq -y --no-install-recommends redis-server ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends redis-server; }; } >"$cache/redis.log" 2>&1 ||
    fail 'redis-server could not be installed' "$how" "its log is $cache/redis.log"
}

provide() {
  need cargo 'https://rustup.rs'
  command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 ||
    fail 'no C compiler is on this machine' 'Debian and Ubuntu: apt-get install gcc libc6-dev'
  if [ -z "${SEDGE_TEST_PYTHON:-}" ]; then
    need python3 'Debian and Ubuntu: apt-get install python3 python3-pip python3-venv'
  fi
  provide_python
  provide_browser
  provide_redis
  export SEDGE_TEST_MODELS=${SEDGE_TEST_MODELS:-$HOME/.cache/sedge/models}
  mkdir -p "$SEDGE_TEST_MODELS"
  export SEDGE_TEST_GUESTS=${SEDGE_TEST_GUESTS:-$HOME/.cache/sedge/guests}
  mkdir -p "$cache"
  SEDGE_GUEST_CACHE=$SEDGE_TEST_GUESTS functions/snapshots.sh >"$cache/snapshots.log" 2>&1 ||
    fail 'the Python snapshot could not be built' "its log is $cache/snapshots.log"
  SEDGE_GUEST_CACHE=$SEDGE_TEST_GUESTS functions/toolchains.sh >"$cache/toolchains.log" 2>&1 ||
    fail 'there are no compilers for guests in Rust and C' "the log is $cache/toolchains.log" \
      "elsewhere than on Debian, put rustc, cargo and clang for wasm32 into $SEDGE_TEST_GUESTS/bin"
  command -v npm >/dev/null || apt_get npm || fail '`npm` is not on this machine' \
    'Debian and Ubuntu: apt-get install npm'
}

wanted() {
  [ ${#only[@]} -eq 0 ] && return 0
  local it
  for it in "${only[@]}"; do [ "$it" = "$1" ] && return 0; done
  return 1
}

# Machines in network namespaces; what it needs beyond the rest may be missing on a developer's machine.
lan() {
  local built=${CARGO_TARGET_DIR:-target}/debug
  if ! { [ "$(id -u)" = 0 ] && command -v ip && command -v ss && ip netns add sedge-probe-$$; } >/dev/null 2>&1; then
    printf '   left out: it needs root, iproute2 and a kernel with network namespaces\n'
    return
  fi
  ip netns del sedge-probe-$$
  bash crates/sedge/tests/lan.sh "$built/sedge" && sh crates/sedge-net/tests/lan.sh "$built/examples/neighbours" || return
  command -v iptables >/dev/null || apt_get iptables || fail "\`iptables\` is not on this machine" \
    'Debian and Ubuntu: apt-get install iptables'
  bash crates/sedge/tests/nat.sh "$built/sedge"
}

# The same components on another processor, emulated.
arm64() {
  local built=${CARGO_TARGET_DIR:-target}
  if [ "$(uname -sm)" != 'Linux x86_64' ] || ! command -v dpkg >/dev/null; then
    printf '   left out: it needs Debian or the like on x86-64\n'
    return
  fi
  crates/sedge-functions/tests/arm64.sh "$built/debug/examples/call" "$built/arm64"
}

# Every decoder that somebody outside reaches, for a bounded time.
fuzz() {
  command -v c++ >/dev/null || apt_get g++ || fail 'no C++ compiler is on this machine' \
    'Debian and Ubuntu: apt-get install g++'
  fuzz/run.sh
}

# Installs a system package where that is possible.
apt_get() { # package
  command -v apt-get >/dev/null || return
  apt-get install -qy "$1" >/dev/null 2>&1 || { apt-get update -q >/dev/null && apt-get install -qy "$1" >/dev/null; }
}

only=("$@")
for it in "${only[@]}"; do
  case $it in
    fmt | lints | docs | tests | fuzz | lan | arm64) ;;
    *) fail "there is no step \`$it\`" 'steps: fmt lints docs tests fuzz lan arm64' ;;
  esac
done

if wanted tests; then step tests 'Provide what the tests need' provide; fi
if wanted fmt; then step fmt 'Format' cargo fmt --all --check; fi
if wanted lints; then
  step lints 'Lints' cargo clippy --locked --workspace --all-targets -- -D warnings
fi
if wanted docs; then
  step docs 'Documentation' env RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps
fi
if wanted tests; then step tests 'Tests' cargo test --locked --workspace; fi
if wanted fuzz; then step fuzz 'Fuzz targets' fuzz; fi
if wanted lan; then step lan 'Machines on one network, and on several' lan; fi
if wanted arm64; then step arm64 'Components on another processor' arm64; fi
report
