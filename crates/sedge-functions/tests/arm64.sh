#!/usr/bin/env bash
# The same components on two processors: `examples/call.rs`, built for x86-64 and for arm64, prints the same of each.
# Arguments: the program built for this machine, and a folder for the other build. Needs an x86-64 Debian or the like;
# the arm64 build runs under qemu. What is missing is installed where this runs as root, and named where it does not.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
native=$(realpath "${1:?usage: arm64.sh PATH/TO/call FOLDER}")
target=${2:?usage: arm64.sh PATH/TO/call FOLDER}
functions=$here/../../../functions
triple=aarch64-unknown-linux-gnu

die() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

provide() {
  local missing='' it
  for it in gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user "$@"; do
    dpkg -s "$it" >/dev/null 2>&1 || missing="$missing $it"
  done
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] || die "install them with: apt-get install --no-install-recommends$missing"
  # shellcheck disable=SC2086
  apt-get install -qy --no-install-recommends $missing >/dev/null 2>&1 ||
    { apt-get update -q >/dev/null && apt-get install -qy --no-install-recommends $missing >/dev/null; } ||
    die "these could not be installed:$missing"
}

# With a standard library for arm64 the project's toolchain builds it; otherwise the distribution's compiler, which
# has the sources of its own. Nothing is optimised: it runs a few milliseconds.
build() {
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
  export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CARGO_INCREMENTAL=0 CARGO_TARGET_DIR=$target
  local options=(build --locked --quiet --manifest-path "$here/../Cargo.toml" --example call --target "$triple"
    --config 'profile.dev.package."*".opt-level=0' --config profile.dev.debug=0)
  if [ -d "$(rustc --print sysroot)/lib/rustlib/$triple" ]; then
    provide
    cargo "${options[@]}"
  else
    provide rustc-web cargo-web rust-web-src rust-web-llvm
    PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
      /usr/bin/cargo "${options[@]}" -Zbuild-std=std,panic_abort
  fi
}

row_074_one_component_prints_the_same_on_x86_64_and_arm64() {
  local other=$target/$triple/debug/examples/call here_says there_says
  file -b "$other" 2>/dev/null | grep -q -e aarch64 || readelf -h "$other" | grep -q AArch64 || die 'no arm64 build'
  local calls=(
    "$functions/upper.wasm" 'abc, Äö' "$functions/count.wasm" '*21 2' "$functions/count.wasm" nonsense
    "$functions/probe.wasm" 'upper grüße' "$functions/probe.wasm" 'spin 100000' "$functions/probe.wasm" 'recurse 100'
    "$functions/probe.wasm" trap "$functions/probe.wasm" 'allocate 16' "$functions/environ.wasm" args
    "$functions/web.wasm" abc
  )
  here_says=$("$native" "${calls[@]}")
  there_says=$(qemu-aarch64 -L /usr/aarch64-linux-gnu "$other" "${calls[@]}")
  printf '%s\n' "$here_says"
  [ "$(printf '%s\n' "$here_says" | wc -l)" = $((${#calls[@]} / 2)) ] || die 'not every call was made'
  [ "$here_says" = "$there_says" ] || die "arm64 says otherwise: $there_says"
  echo "x86-64 and arm64 say the same: component, status, fuel, output"
}

[ "$(uname -m)" = x86_64 ] || die 'this machine is no x86-64'
build
row_074_one_component_prints_the_same_on_x86_64_and_arm64
